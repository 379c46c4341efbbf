"""Environment of a run: everything besides its settings that decides its rounding.

WORKDIR/environment.json    the environment of the last start
"""

import importlib.metadata
import json
import pathlib
import platform
import re
from collections.abc import Mapping, Sequence

import tensorflow as tf
from absl import logging

from pipeline.process import variables
from trainer.runs import workdir
from trainer.system import atomic_files

FILE_NAME = "environment.json"

# Vector instructions: they decide the choice of kernels and the rounding of results.
_INSTRUCTIONS = re.compile(r"(sse|avx|fma|amx|neon|asimd|sve|f16c)\w*")
_CPU_INFO = pathlib.Path("/proc/cpuinfo")
_CACHES = pathlib.Path("/sys/devices/system/cpu/cpu0/cache")
_CONSEQUENCE = (
    "the losses may differ from the losses of an uninterrupted run, by about 1e-4 "
    "within fifty steps"
)


def describe(devices: Sequence[str]) -> dict[str, str]:
    """Returns the properties that decide the rounding of a run, by name.

    Args:
        devices: Names of the devices that the run computes on.

    Returns:
        `threads`, the number of threads per kernel on the CPU (0 for TensorFlow's own
        default); the `device`; the processor's vector `instructions` and `caches`,
        which decide how kernels block their work; the setting of `oneDNN`; the versions
        of TensorFlow and Keras; and the variables that `--kernel_variable` sets. A
        value that this system does not report is `unknown`.
    """
    gpus = {
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    }
    is_on_gpu = any("GPU" in device for device in devices)
    kernel_variables = variables.chosen()
    # Earlier releases recorded this variable as `oneDNN`.
    one_dnn = kernel_variables.pop("TF_ENABLE_ONEDNN_OPTS", "default")
    return {
        "threads": str(tf.config.threading.get_intra_op_parallelism_threads()),
        "device": ", ".join(sorted(gpus)) if is_on_gpu else "CPU",
        "instructions": _instructions(),
        "caches": _cache_sizes(),
        "oneDNN": one_dnn,
        **{name: importlib.metadata.version(name) for name in ("tensorflow", "keras")},
        **kernel_variables,
    }


def differences(saved: Mapping[str, str], current: Mapping[str, str]) -> list[str]:
    """Returns a phrase with both values for each property that differs."""
    names = sorted(saved.keys() | current.keys())
    return [
        f"{name} was {_value(saved, name)} and is now {_value(current, name)}"
        for name in names
        if saved.get(name) != current.get(name)
    ]


def phrases() -> list[str]:
    """Returns a phrase for each overridden variable, with the remedy."""
    return [phrase + _remedy(phrase) for phrase in variables.phrases()]


def record(
    run_dir: pathlib.Path, current: Mapping[str, str], *, is_resumed: bool
) -> None:
    """Writes environment.json, and warns if a resumed run had another environment.

    It also warns of the variables that this process overrides.

    Args:
        run_dir: The workdir.
        current: Environment from `describe`.
        is_resumed: Whether the run resumes from a checkpoint.

    Raises:
        ValueError: If environment.json is damaged.
        OSError: If environment.json cannot be written.
    """
    path = run_dir / FILE_NAME
    for phrase in phrases():
        logging.warning("%s", phrase)
    if is_resumed:
        warning = _warning(path, current)
        if warning:
            logging.warning("%s: %s", warning, _CONSEQUENCE)
    atomic_files.write(path, json.dumps(current, indent=1).encode() + b"\n")


def warn_of_hosts(differing: Sequence[int]) -> None:
    """Warns if the environment of some hosts differs from the chief's.

    Args:
        differing: Numbers of the hosts that differ.
    """
    if differing:
        logging.warning(
            "host %s has another processor or other versions than host 0: %s",
            ", ".join(map(str, differing)),
            _CONSEQUENCE,
        )


def _value(values: Mapping[str, str], name: str) -> str:
    return values.get(name, "not set" if name in variables.KERNELS else "unknown")


def _remedy(phrase: str) -> str:
    is_kernel = phrase.partition("=")[0] in variables.KERNELS
    return "; --kernel_variable=NAME=VALUE sets it" if is_kernel else ""


def _warning(path: pathlib.Path, current: Mapping[str, str]) -> str:
    """Returns a warning if a resumed run has another environment, else ""."""
    if not path.exists():
        return (
            "an earlier release started this run, and did not record its number of "
            "threads and its processor"
        )
    changes = differences(workdir.read_json(path), current)
    if not changes:
        return ""
    return f"this run resumes in another environment ({'; '.join(changes)})"


def _instructions() -> str:
    """Returns the processor's architecture and vector instructions."""
    instructions: set[str] = set()
    if _CPU_INFO.exists():
        # The line is the same for all cores: "flags" on x86, "Features" on ARM.
        line = re.search(r"^(flags|Features)\s*:(.*)", _CPU_INFO.read_text(), re.M)
        if line:
            instructions = {
                word for word in line[2].split() if _INSTRUCTIONS.fullmatch(word)
            }
    return " ".join([platform.machine(), *(sorted(instructions) or ["unknown"])])


def _cache_sizes() -> str:
    """Returns the sizes of the data caches, lowest level first."""
    sizes = []
    for folder in sorted(_CACHES.glob("index*")):
        try:
            kind = (folder / "type").read_text().strip()
            if kind != "Instruction":
                sizes.append((folder / "size").read_text().strip())
        except OSError:
            continue
    return " ".join(sizes) or "unknown"
