"""Speed that a change must not lose: ratios within one run, with generous bounds.

That the trainer imports no Beam is in tests/test_imports.py.
"""

import pathlib
import subprocess
import sys
import time

import numpy as np

from benchmarks import measuring, stepping
from pipeline.synthetic import layout
from trainer.latents import neighbours


def test_two_devices_are_not_twice_as_slow_as_one():
    debug, shape = "configs/celeba_debug.py", (32, 32, 3)
    with (
        stepping.Stepper(debug, 1, shape) as one,
        stepping.Stepper(debug, 2, shape) as two,
    ):
        rounds = stepping.take_turns([one, two], num_rounds=5, num_steps=5)
    assert np.median(rounds[:, 1] / rounds[:, 0]) < 2


def test_neighbours_are_twice_as_fast_as_a_loop():
    rng = np.random.default_rng(0)
    queries = rng.uniform(-1, 1, (20, 64, 64, 3)).astype(np.float32)
    images = rng.uniform(-1, 1, (400, 64, 64, 3)).astype(np.float32)
    keys = [str(number) for number in range(len(images))]

    def loop() -> np.ndarray:
        best = np.full(len(queries), np.inf)
        for image in images:
            for place, query in enumerate(queries):
                best[place] = min(best[place], np.sum((query - image) ** 2))
        return np.sqrt(best)

    def search() -> np.ndarray:
        return neighbours.nearest(queries, [(keys, images)]).distances

    ratios = []
    for _ in range(3):
        start = time.monotonic()
        expected = loop()
        middle = time.monotonic()
        found = search()
        ratios.append((middle - start) / (time.monotonic() - middle))
        np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert max(ratios) > 2


def test_no_process_of_prepare_loads_tensorflow(tmp_path: pathlib.Path):
    layout.write_dataset(str(tmp_path / "raw"), 40, 0)
    command = [sys.executable, "-m", "pipeline.prepare", "--num_workers=2"]
    command += [f"--input={tmp_path}/raw", f"--output={tmp_path}/out"]
    command += ["--direct_running_mode=multi_processing"]
    packages: set[str] = set()
    num_processes = 0
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            pids = measuring.tree([process.pid])
            num_processes = max(num_processes, len(pids))
            packages.update(*map(measuring.mapped_packages, pids))
            time.sleep(0.05)
    assert process.returncode == 0
    assert num_processes > 2
    assert {"numpy", "apache_beam"} <= packages
    assert "tensorflow" not in packages
