"""Variables that change how libraries compute or draw, or keep them from starting.

The numbers of a run follow from its flags, so call `override` before the first import
of these libraries. Variables left to the user change only the rounding: `heeded` names
them, and `environment` records them.
"""

import json
import os
import pathlib
from collections.abc import MutableMapping

# Keras's own defaults, used when layers, optimizers and metrics are built.
_KERAS_DEFAULTS = {
    "backend": "tensorflow",
    "epsilon": 1e-7,
    "floatx": "float32",
    "image_data_format": "channels_last",
}
_VALUES = {
    "KERAS_BACKEND": "tensorflow",
    # Keras reads and writes keras.json in its home; this home cannot hold a file.
    "KERAS_HOME": os.devnull,
    # Matplotlib reads this empty file instead of the user's.
    "MATPLOTLIBRC": os.devnull,
    "MPLBACKEND": "agg",
}

# Names; a star stands for any ending. They change the precision, which is a setting of
# the run; let a kernel keep weights from an earlier step; make sums differ from run to
# run; or change the look of figures.
_OVERRIDDEN = (
    "DNNL_DEFAULT_FPMATH_MODE",
    "KERAS_*",
    "MATPLOTLIBRC",
    "MPLBACKEND",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "TF_AUTO_MIXED_PRECISION_*",
    "TF_CONV2D_USE_FP16_ACCUMULATE",
    "TF_DISABLE_SCATTER_OP_DETERMINISM",
    "TF_DISABLE_SEGMENT_REDUCTION_OP_DETERMINISM_EXCEPTIONS",
    "TF_ENABLE_AUTO_MIXED_PRECISION*",
    "TF_FP16_*",
    "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS",
    "TF_SET_ONEDNN_FPMATH_MODE",
    "TF_USE_LEGACY_KERAS",
)

# Variables that choose kernels. TF_ENABLE_ONEDNN_OPTS is another one, but `environment`
# has always recorded it.
HEEDED = (
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_MAX_CPU_ISA",
    "NCCL_ALGO",
    "NCCL_PROTO",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "TF_CUDNN_DISABLE_CONV_1X1_OPTIMIZATION",
    "TF_CUDNN_USE_AUTOTUNE",
    "TF_CUDNN_USE_RUNTIME_FUSION",
    "TF_CUDNN_WORKSPACE_LIMIT_IN_MB",
    "TF_ENABLE_ONEDNN_SPMM",
    "TF_ENABLE_WINOGRAD_NONFUSED",
    "TF_ENABLE_ZENDNN_OPTS",
    "TF_MATMUL_AUTOTUNE_ENABLE",
    "TF_USE_CUBLASLT",
    "TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT",
    "TF_USE_DEEP_CONV2D",
    "TF_USE_DEFAULT_CONV_ALGO",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
)

# Overridden settings of this process, as `NAME=value` or `FILE: setting, …`.
overridden: list[str] = []


def override(environ: MutableMapping[str, str] = os.environ) -> None:
    """Overrides variables that would change a run's numbers.

    The changes are listed in `overridden`.

    Args:
        environ: Variables to change.
    """
    changes = _foreign_keras_config(environ)
    for name in sorted(environ):
        is_overridden = any(
            name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
            for pattern in _OVERRIDDEN
        )
        if is_overridden:
            value = environ.pop(name)
            # A home changes nothing by itself, only by its keras.json.
            if name != "KERAS_HOME" and _VALUES.get(name, "") != value:
                changes.append(f"{name}={value}")
    environ.update(_VALUES)
    overridden[:] = changes


def heeded(environ: MutableMapping[str, str] = os.environ) -> dict[str, str]:
    """Returns the variables that are set and may change the rounding, by name."""
    return {name: environ[name] for name in HEEDED if name in environ}


def _foreign_keras_config(environ: MutableMapping[str, str]) -> list[str]:
    """Returns settings in the user's keras.json that differ from Keras's defaults."""
    home = environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")
    path = pathlib.Path(home, "keras.json")
    try:
        config = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError):
        return [f"{path}: cannot be read"]
    if not isinstance(config, dict):
        return [f"{path}: is no object"]
    settings = [
        f"{name}={config[name]}"
        for name, default in _KERAS_DEFAULTS.items()
        if config.get(name, default) != default
    ]
    return [f"{path}: {', '.join(settings)}"] if settings else []
