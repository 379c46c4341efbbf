import shutil
import subprocess
import sys

import pytest

from benchmarks import comparison, inputs, results
from pipeline.synthetic import layout
from tests import preloaded

pytestmark = pytest.mark.slow

NUM_IMAGES = 40


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Returns a directory of drawn faces, one file per image."""
    root = tmp_path_factory.mktemp("faces")
    layout.write_dataset(str(root / "raw"), NUM_IMAGES, 0)
    assert inputs.extract(str(root / "raw"), str(root / "files")) == NUM_IMAGES
    return str(root / "files")


@pytest.mark.parametrize(
    ("peer", "image_dtype", "num_workers"),
    [
        ("plain_graph", "uint8", 1),
        ("plain_graph", "float32", 2),
        ("tfds_builder", "uint8", 1),
        ("tfds_builder", "float16", 1),
    ],
)
def test_a_peer_writes_our_pixels(files, tmp_path, peer, image_dtype, num_workers):
    module = f"benchmarks.peers.{peer}"
    command = [preloaded.shared_python(), "-m", module, f"--files={files}"]
    command += [f"--output={tmp_path}/out", f"--image_dtype={image_dtype}"]
    command += [f"--num_workers={num_workers}"]
    subprocess.run(command, check=True)
    num_images, difference = comparison.check(f"{tmp_path}/out", files, image_dtype)
    assert num_images == NUM_IMAGES
    assert difference == pytest.approx(0, abs=1e-6)
    # The check notices images under the wrong keys.
    swapped = shutil.copytree(files, tmp_path / "swapped")
    first, *others = sorted(swapped.glob("*.jpg"))
    for path in others:
        shutil.copy(first, path)
    _, difference = comparison.check(f"{tmp_path}/out", str(swapped), image_dtype)
    assert difference > 0.5


def test_a_row_compares_with_ours_the_limit_and_fewer_images():
    outcomes = {
        (50, "uint8", "ours"): comparison.Outcome("", 100, command_rate=30.0),
        (50, "uint8", "plain"): comparison.Outcome("", 200, command_rate=12.0),
        (500, "uint8", "ours"): comparison.Outcome("", 110, command_rate=60.0),
        (500, "uint8", "plain"): comparison.Outcome("over 2 GB", 2000),
        (500, "float16", "ours"): comparison.Outcome("", 1, command_rate=1.0),
    }
    columns = ("command img/s", "of Pillow", "ours is", "growth")
    actual = [
        [row[column] for column in columns]
        for number in (50, 500)
        for row in comparison.rows(outcomes, number, "uint8", (70.0, 80.0))
    ]
    assert actual == [
        ["30", "0.40", "1.0x", "1.00"],
        ["12", "0.16", "2.5x", "1.00"],
        ["60", "0.80", "1.0x", "1.10"],
        ["over 2 GB", "-", "-", "10.00"],
    ]


@pytest.mark.flink
def test_the_cluster_is_measured_and_taken_down(tmp_path):
    if shutil.which("java") is None:
        pytest.skip("Flink needs Java: apt-get install default-jre-headless")
    command = [sys.executable, "-m", "benchmarks.builders", "--systems=ours,ours_flink"]
    command += [f"--num_images={NUM_IMAGES}", "--image_dtype=uint8"]
    command += [f"--output={tmp_path}", f"--results={tmp_path}/history.csv"]
    subprocess.run(command, check=True)
    local, flink = results.read(tmp_path / "history.csv")["builders"]
    # Flink needs the memory of four Java processes and a worker pool.
    assert int(flink["peak PSS MB"]) > int(local["peak PSS MB"]) + 500
    processes = subprocess.check_output(["ps", "-eo", "args"], text=True)
    assert str(tmp_path) not in processes
