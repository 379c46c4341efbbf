import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from pipeline import contract
from pipeline.images import squares, user_function
from pipeline.planning.dataset_settings import Settings
from tests import preloaded
from tests.pipeline import calls

ROOT = pathlib.Path(__file__).parents[3]

MODULE = """
import numpy as np

NUMBER = 3

def turned(image):
    return image[::-1, ::2]

def written(image):
    image[:] = 7
    return image

def raising(image):
    raise KeyError("on two\\nlines")

def nothing(image):
    pass

def listed(image):
    return image.tolist()

def floating(image):
    return image / 255

def grey(image):
    return image[..., :1]

def flat(image):
    return image[..., 0]

def empty(image):
    return image[:0]
"""


@pytest.fixture(scope="module", autouse=True)
def directory(tmp_path_factory):
    """Yields a directory with the user's modules, which is on Python's path."""
    path = tmp_path_factory.mktemp("user")
    (path / "users").mkdir()
    (path / "users" / "own.py").write_text(MODULE)
    (path / "broken_syntax.py").write_text("def f(:\n")
    (path / "broken_import.py").write_text("\n1 / 0\n")
    sys.path.insert(0, str(path))
    yield path
    sys.path.remove(str(path))


PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def fails(match):
    return pytest.raises(contract.DatasetError, match=match)


def test_the_function_is_called_on_a_copy_of_the_pixels():
    np.testing.assert_array_equal(
        user_function.call("users.own:turned", PIXELS), PIXELS[::-1, ::2]
    )
    pixels = PIXELS.copy()
    pixels.setflags(write=False)
    assert (user_function.call("users.own:written", pixels) == 7).all()
    np.testing.assert_array_equal(pixels, PIXELS)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("", "preprocess= must be PACKAGE.MODULE:FUNCTION"),
        ("users.own", "preprocess=users.own must be PACKAGE.MODULE:FUNCTION"),
        ("users.own:", "preprocess=users.own: must be PACKAGE.MODULE:FUNCTION"),
        (":turned", "preprocess=:turned must be PACKAGE.MODULE:FUNCTION"),
        (
            "users.absent:turned",
            r"cannot import users.absent \(ModuleNotFoundError: No module named "
            r"'users.absent'\): it must be on PYTHONPATH, or elsewhere on sys.path$",
        ),
        ("broken_syntax:f", r"cannot import broken_syntax \(SyntaxError: .*line 1\)"),
        (
            "broken_import:f",
            r"\(ZeroDivisionError: division by zero, .*broken_import.py line 2\)",
        ),
        ("..own:f", r"cannot import ..own \("),
        ("users.own:absent", "absent is not defined in .*users/own.py"),
        ("users.own:NUMBER", "NUMBER is not a function in .*users/own.py"),
    ],
)
def test_names_that_are_no_function(name, match):
    with fails(match):
        user_function.load(name)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("nothing", "returned a NoneType for an image"),
        ("listed", "returned a list for"),
        (
            "floating",
            r"returned \[4, 6, 3\] float64 for an image of \[4, 6, 3\]: the function",
        ),
        (
            "grey",
            r"returned \[4, 6, 1\] uint8 for .* must return \[height, width, 3\] u",
        ),
        ("flat", r"returned \[4, 6\] uint8 for"),
        ("empty", r"returned \[0, 6, 3\] uint8 for"),
        (
            "raising",
            r"^preprocess=users.own:raising failed on an image of \[4, 6, 3\] "
            r"\(KeyError: 'on two\\nlines', .*users/own.py line 14\): repair the "
            "function",
        ),
    ],
)
def test_what_it_does_wrong_is_named(name, match):
    with fails(match) as error:
        user_function.call(f"users.own:{name}", PIXELS)
    assert f"preprocess=users.own:{name} " in str(error.value)
    assert "\n" not in str(error.value)


def test_it_is_called_before_the_crop(encode):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 20, 3), dtype=np.uint8)
    options = {"image_dtype": "uint8", "resize": "bilinear", "image_size": 4}
    for image in (encode(pixels, "PNG"), pixels):
        stored = squares.preprocess(
            image, crop_size=4, function="users.own:turned", **options
        )
        np.testing.assert_array_equal(stored, pixels[::-1, ::2][2:6, 3:7])
    # A grey image keeps its single channel.
    grey = squares.preprocess(
        pixels[..., :1], crop_size=4, function="users.own:turned", **options
    )
    np.testing.assert_array_equal(grey, pixels[::-1, ::2, :1][2:6, 3:7])


def test_it_is_a_setting_and_changes_the_dataset(input_dir, tmp_path):
    def run(output, name):
        settings = Settings(image_size=8, shard_size=8, preprocess=name)
        return calls.prepare(
            settings, input_dir=input_dir, output=str(tmp_path / output)
        )

    plain, turned = run("plain", None), run("turned", "users.own:turned")
    assert "preprocess" not in plain.settings
    assert turned.settings == {**plain.settings, "preprocess": "users.own:turned"}
    assert turned.splits["train"].shards != plain.splits["train"].shards
    with fails("preprocess=users.own:turned before, users.own:written now"):
        run("turned", "users.own:written")
    with fails("preprocess=users.own:absent: absent is not defined"):
        run("absent", "users.own:absent")
    assert not (tmp_path / "absent").exists()
    with fails("preprocess=users.own:grey returned"):
        run("grey", "users.own:grey")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_workers_find_it_as_the_launcher_does(input_dir, tmp_path, directory, mode):
    def run_command(function):
        python = preloaded.shared_python() if mode == "in_memory" else sys.executable
        command = [python, "-m", "pipeline.prepare", f"--input={input_dir}"]
        command += [f"--output={tmp_path / function}", "--image_size=8"]
        command += [f"--preprocess=users.own:{function}", "--num_workers=2"]
        return subprocess.run(
            [*command, f"--direct_running_mode={mode}"],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )

    done = run_command("turned")
    assert done.returncode == 0, done.stderr
    manifest = contract.load_manifest(tmp_path / "turned")
    assert manifest.settings["preprocess"] == "users.own:turned"
    failed = run_command("floating")
    assert failed.returncode == 1
    [line] = [text for text in failed.stderr.splitlines() if "error:" in text]
    assert line == (
        "error: --preprocess=users.own:floating returned [55, 45, 3] float64 for an "
        "image of [55, 45, 3]: the function must return [height, width, 3] uint8"
    )
    assert "Traceback" not in failed.stderr
