"""A simulated reader of the documents: makes their folder and runs their commands.

Everything is small: photographs of noise, 60 drawn faces, MNIST with 60 images, a
dataset of the faces, and a run of two steps on that dataset.
"""

import gzip
import hashlib
import pathlib
import shlex
import shutil
import signal
import struct
import subprocess
import urllib.request
from collections.abc import Mapping

import numpy as np
from PIL import Image

from tests.pages import ROOT

PATIENCE_SECS = 120
# Makes two buckets, and copies local folders into both.
_UPLOAD = """
import pathlib, sys
from pipeline.storage import buckets, paths
for url in ("gs://bucket/", "s3://bucket/"):
    bucket, _ = buckets.find_bucket(url)
    if url.startswith("gs"):
        bucket._bucket.create()
    else:
        bucket._client.create_bucket(Bucket=bucket._name)
    for root in map(pathlib.Path, sys.argv[1:]):
        for path in root.rglob("*"):
            if path.is_file():
                name = path.relative_to(root.parent).as_posix()
                paths.write_bytes(url + name, path.read_bytes())
"""


def make_things(root: pathlib.Path, environ: Mapping[str, str]) -> pathlib.Path:
    """Makes all things that `make_folder` copies, and buckets with some of them.

    Args:
        root: Directory for the things; it looks like a checkout, too.
        environ: Environment variables of the commands.

    Returns:
        `root`, with celeba, dataset, run, photos, mnist, mine and tfds.
    """
    link_repository(root, environ)
    _write_photos(root / "photos")
    _write_mnist(root / "mnist")
    (root / "mine").mkdir()
    (root / "mine" / "faces.py").write_text(
        "def cut(pixels):\n    return pixels[:30]\n"
    )
    train = "trainer.train --config=configs/celeba.py --dataset=dataset --workdir=run"
    for line in (
        "python -m pipeline.synthesize --output=celeba --num_images=60",
        "python -m pipeline.prepare --input=celeba --output=dataset",
        f"python -m {train} --config.num_train_steps=2",
        "python tests/pipeline/sources/tfds_datasets.py celeba tfds",
        f"python -c {shlex.quote(_UPLOAD)} celeba mnist photos",
    ):
        run(line, root, environ)
    return root


def _write_photos(root: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("cat/1.jpg", "cat/2.png", "dog/1.jpg", "dog/old/2.png", "dog/3.jpg"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in range(10):
            pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            image = Image.fromarray(pixels)
            image.save(path.with_name(f"{number}{path.name}"))
    (root / "chosen.txt").write_text(
        "".join(f"{animal}/{n}1.jpg\n" for animal in ("cat", "dog") for n in range(10))
    )


def _write_mnist(root: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    root.mkdir()
    for prefix, number in (("train", 40), ("t10k", 20)):
        for name, shape in (
            ("images-idx3", (number, 28, 28)),
            ("labels-idx1", (number,)),
        ):
            head = struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)
            data = head + rng.integers(0, 10, shape, dtype=np.uint8).tobytes()
            (root / f"{prefix}-{name}-ubyte.gz").write_bytes(gzip.compress(data))


def link_repository(folder: pathlib.Path, environ: Mapping[str, str]) -> None:
    """Makes a folder look like a checkout whose Python is the `python` on the PATH."""
    for name in subprocess.run(
        ["git", "ls-tree", "--name-only", "HEAD"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split():
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv" / "bin").mkdir(parents=True)
    python = shutil.which("python", path=environ["PATH"])
    (folder / ".venv" / "bin" / "python").symlink_to(str(python))
    # `make venv` writes this file, so `make` takes the environment for complete.
    lock = hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()
    (folder / ".venv" / "lock.sha256").write_text(f"{lock}  requirements.lock\n")


def make_folder(
    folder: pathlib.Path,
    given: Mapping[str, str],
    things: pathlib.Path,
    environ: Mapping[str, str],
) -> pathlib.Path:
    """Makes a folder that looks like a checkout, with copies of the `given` things."""
    link_repository(folder, environ)
    for name, thing in given.items():
        shutil.copytree(things / thing, folder / name)
    return folder


def run(line: str, folder: pathlib.Path, environ: Mapping[str, str]) -> str:
    """Runs a command to its end, or TensorBoard to its first page.

    Returns:
        Output of the command, or the page.
    """
    program = subprocess.Popen(
        ["bash", "-c", line],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = ""
    if "trainer.tensorboard" in line:
        assert program.stdout is not None
        for output in program.stdout:
            if "(Ctrl-C ends)" in output:
                with urllib.request.urlopen(
                    output.split()[-3], timeout=PATIENCE_SECS
                ) as page:
                    output = page.read().decode()
                break
        program.send_signal(signal.SIGINT)
    output += program.communicate()[0]
    assert program.returncode == 0, f"{line}\n{output[-3000:]}"
    return output
