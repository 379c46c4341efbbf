"""Variables that change how libraries compute or draw, or keep them from starting.

Only flags may decide the numbers of a run, so call `override` before the first import
of these libraries. Variables in `KERNELS` change only the rounding, and some machines
need them: a flag of the trainer sets them, and `environment.json` records them.
"""

import difflib
import json
import os
import pathlib
from collections.abc import Mapping, MutableMapping, Sequence

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

# Variables to override; a star stands for any ending. They change the precision, which
# is a setting of the run; let a kernel keep weights from an earlier step; make sums
# differ from run to run; or change the look of figures.
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

# Variables that choose kernels.
KERNELS = (
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
    "TF_ENABLE_ONEDNN_OPTS",
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

# Settings that no user chose, so nobody needs to hear that they are overridden. Jupyter
# gives this variable to every kernel, and a kernel to its commands.
_UNCHOSEN = ("MPLBACKEND=module://matplotlib_inline.backend_inline",)

# Variables that change only the look of figures, and where they are shown.
FIGURES = ("MATPLOTLIBRC", "MPLBACKEND")

# Overridden settings of this process, as `NAME=value` or `FILE: setting, …`.
overridden: list[str] = []


def override(
    environ: MutableMapping[str, str] = os.environ,
    kernels: Mapping[str, str] | None = None,
    kept: Sequence[str] = (),
) -> None:
    """Overrides variables that would change a run's numbers.

    The changes are listed in `overridden`.

    Args:
        environ: Variables to change.
        kernels: Variables of `KERNELS` to set; the others are removed.
        kept: Names of variables that stay as they are.
    """
    values = {**_VALUES, **(kernels or {})}
    values = {name: value for name, value in values.items() if name not in kept}
    changes = _foreign_keras_config(environ)
    for name in sorted(set(environ) - set(kept)):
        is_overridden = any(
            name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
            for pattern in (*_OVERRIDDEN, *KERNELS)
        )
        if is_overridden:
            value = environ.pop(name)
            # A home changes nothing by itself, only by its keras.json.
            if name != "KERAS_HOME" and values.get(name, "") != value:
                changes.append(f"{name}={value}")
    environ.update(values)
    overridden[:] = [change for change in changes if change not in _UNCHOSEN]


def phrases() -> list[str]:
    """Returns a phrase for each overridden setting of this process."""
    return [
        f"{setting} is overridden: only flags decide numbers and figures"
        for setting in overridden
    ]


def parse(texts: Sequence[str]) -> dict[str, str]:
    """Returns the variables of `KERNELS` that texts such as `NAME=VALUE` set.

    Raises:
        ValueError: If a text has another form or name.
    """
    values = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or name not in KERNELS:
            nearest = difflib.get_close_matches(name, KERNELS, n=1) or ["XLA_FLAGS"]
            raise ValueError(
                f"{text!r} must be NAME=VALUE with the name of a variable that chooses "
                f"kernels, such as {nearest[0]}"
            )
        values[name] = value
    return values


def chosen(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Returns the variables of `KERNELS` that are set, by name."""
    return {name: environ[name] for name in KERNELS if name in environ}


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
        return [f"{path}: is not a JSON object"]
    settings = [
        f"{name}={config[name]}"
        for name, default in _KERAS_DEFAULTS.items()
        if config.get(name, default) != default
    ]
    return [f"{path}: {', '.join(settings)}"] if settings else []
