"""Environment variables and a user's files change no numbers and no figures."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from pipeline.process import variables

ROOT = pathlib.Path(__file__).parents[3]

# Runs in a new Python, which must import TensorFlow and Keras under these variables.
PROGRAM = """
import hashlib
from trainer.system import libraries
libraries.load_tensorflow()
import keras, numpy as np, tensorflow as tf
from trainer.numerics import exact
from trainer.reporting import plots
exact.configure()
keras.utils.set_random_seed(1)
layers = [keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization()]
optimizer = keras.optimizers.Adam(0.01)
x = tf.reshape(tf.range(2 * 8 * 8 * 3, dtype=tf.float32), (2, 8, 8, 3)) / 384
for _ in range(2):
    with tf.GradientTape() as tape:
        y = x
        for layer in layers:
            y = layer(y, training=True)
        loss = tf.reduce_mean(y**2 + y)
    weights = [w for layer in layers for w in layer.trainable_variables]
    optimizer.apply(tape.gradient(loss, [w.value for w in weights]), weights)
print(keras.config.backend(), keras.config.floatx(), float(loss.numpy()).hex())
print(hashlib.sha256(b"".join(w.numpy().tobytes() for w in weights)).hexdigest())
picture = plots.latent_scatter(np.arange(8.0).reshape(4, 2), np.arange(4))
print(picture.shape, hashlib.sha256(picture).hexdigest())
"""

KERAS_JSON = {
    "floatx": "float16",
    "epsilon": 0.1,
    "backend": "jax",
    "image_data_format": "channels_first",
}
STYLE = "figure.facecolor: red\nfont.size: 30\ntext.usetex: True\nbackend: QtAgg\n"

HOSTILE = {
    "another backend": {
        "KERAS_BACKEND": "jax",
        "KERAS_NNX_ENABLED": "1",
        "KERAS_MAX_EPOCHS": "many",
        "TF_USE_LEGACY_KERAS": "1",
        "TF_ENABLE_AUTO_MIXED_PRECISION": "1",
        "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "MPLBACKEND": "nonsense",
        "PYTHONWARNINGS": "error",
    },
    "files of the user": {
        "HOME": "{home}",
        "XDG_CONFIG_HOME": "{home}/config",
        "MPLCONFIGDIR": "{home}/config/matplotlib",
        "KERAS_BACKEND": "torch",
    },
    "other kernels": {
        "XLA_FLAGS": "--nonsense",
        "TF_XLA_FLAGS": "--nonsense",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "TF_USE_DEEP_CONV2D": "1",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "DNNL_MAX_CPU_ISA": "SSE41",
        "OPENBLAS_CORETYPE": "Prescott",
        "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
    },
    "no such home": {
        "KERAS_HOME": "{home}/broken",
        "MATPLOTLIBRC": "{home}/none",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONOPTIMIZE": "1",
        "PYTHONHASHSEED": "3",
        "TF_DETERMINISTIC_OPS": "0",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    },
}


def computed(directory: pathlib.Path, values: dict[str, str]) -> str:
    """Returns the output of `PROGRAM` in `directory`, with `values` as variables."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KERAS", "MPL", "MATPLOTLIB"))
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=directory,
        env={**environment, "PYTHONPATH": str(ROOT), **values},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Returns the output of `PROGRAM` without the variables and files of the tests."""
    text = computed(tmp_path_factory.mktemp("clean"), {})
    assert text.startswith("tensorflow float32 ")
    return text


@pytest.mark.slow
@pytest.mark.parametrize("name", list(HOSTILE))
def test_numbers_and_figures_are_the_same(
    name: str, undisturbed: str, tmp_path: pathlib.Path
) -> None:
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras/keras.json").write_text(json.dumps(KERAS_JSON))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/keras.json").write_text('{"epsilon": 1}')
    (tmp_path / "config/matplotlib").mkdir(parents=True)
    (tmp_path / "config/matplotlib/matplotlibrc").write_text(STYLE)
    (tmp_path / "matplotlibrc").write_text(STYLE)
    values = {
        variable: value.format(home=tmp_path)
        for variable, value in HOSTILE[name].items()
    }
    assert computed(tmp_path, values) == undisturbed
    # The user's file stays unchanged for other programs.
    assert json.loads((tmp_path / ".keras/keras.json").read_text()) == KERAS_JSON


@pytest.mark.slow
def test_a_worker_that_encodes_imports_tensorflow_with_its_own_keras() -> None:
    program = (
        "from pipeline.latents import encoder\n"
        "with encoder._without_stderr():\n"
        "    import tensorflow, keras\n"
        "print(keras.config.backend())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "tensorflow\n", done.stderr


def overridden(monkeypatch: pytest.MonkeyPatch, **environ: str) -> list[str]:
    """Overrides variables of an environment, and returns the overridden values."""
    monkeypatch.setattr(variables, "overridden", [])
    variables.override(environ)
    assert environ["KERAS_BACKEND"] == "tensorflow"
    changes = list(variables.overridden)
    # A child process inherits the new values and has nothing to override.
    variables.override(environ)
    assert variables.overridden == []
    assert not variables.chosen(environ)
    return changes


def test_each_variable_is_named_with_its_value(tmp_path, monkeypatch) -> None:
    actual = overridden(
        monkeypatch,
        HOME="/nonexistent",
        KERAS_HOME=str(tmp_path),
        KERAS_BACKEND="torch",
        TF_ENABLE_AUTO_MIXED_PRECISION_GRAPH_REWRITE="1",
        TF_ENABLE_ONEDNN_OPTS="0",
        XLA_FLAGS="--xla_cpu_enable_fast_math=true",
    )
    assert actual == [
        "KERAS_BACKEND=torch",
        "TF_ENABLE_AUTO_MIXED_PRECISION_GRAPH_REWRITE=1",
        "TF_ENABLE_ONEDNN_OPTS=0",
        "XLA_FLAGS=--xla_cpu_enable_fast_math=true",
    ]
    assert overridden(monkeypatch, KERAS_BACKEND="tensorflow", MPLBACKEND="agg") == []
    # Jupyter's value is overridden without a word, and any other value with one.
    inline = "module://matplotlib_inline.backend_inline"
    assert overridden(monkeypatch, MPLBACKEND=inline) == []
    assert overridden(monkeypatch, MPLBACKEND="svg") == ["MPLBACKEND=svg"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            json.dumps(KERAS_JSON),
            "backend=jax, epsilon=0.1, floatx=float16, image_data",
        ),
        ('{"floatx": "float32", "epsilon": 1e-07}', None),
        ("[]", "is not a JSON object"),
        ("{", "cannot be read"),
        ("\xff", "cannot be read"),
    ],
)
def test_a_foreign_keras_json_is_named(
    text: str, said: str | None, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keras.json"
    path.write_bytes(text.encode("latin-1"))
    actual = overridden(monkeypatch, KERAS_HOME=str(tmp_path))
    if said is None:
        assert actual == []
    else:
        assert len(actual) == 1
        assert actual[0].startswith(f"{path}: {said}")


def test_a_flag_sets_variables_that_choose_kernels(monkeypatch) -> None:
    monkeypatch.setattr(variables, "overridden", [])
    environ = {"TF_XLA_FLAGS": "--a", "XLA_FLAGS": "--b", "NCCL_ALGO": "Ring"}
    kernels = variables.parse(["XLA_FLAGS=--c=1 --d", "NCCL_ALGO=Ring"])
    variables.override(environ, kernels)
    assert variables.chosen(environ) == {"XLA_FLAGS": "--c=1 --d", "NCCL_ALGO": "Ring"}
    text = "is overridden: only flags decide numbers and figures"
    assert variables.phrases() == [f"TF_XLA_FLAGS=--a {text}", f"XLA_FLAGS=--b {text}"]


def test_tensorflow_names_a_variable_with_a_wrong_value(tmp_path) -> None:
    flags = [
        f"--config={ROOT / 'configs/celeba_debug.py'}",
        *(f"--dataset={tmp_path}", f"--workdir={tmp_path}"),
        "--kernel_variable=TF_XLA_FLAGS=--nonsense",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "trainer.doctor", *flags],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Unknown flag in TF_XLA_FLAGS: --nonsense" in done.stderr


@pytest.mark.parametrize(
    ("text", "nearest"),
    [("XLA_FLAG=--a", "XLA_FLAGS"), ("XLA_FLAGS", "XLA_FLAGS"), ("=", "XLA_FLAGS")],
)
def test_a_variable_that_chooses_no_kernels_is_refused(text, nearest) -> None:
    with pytest.raises(ValueError, match=f"{text!r} must be NAME=.*such as {nearest}$"):
        variables.parse([text])
