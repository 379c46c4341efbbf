"""Runs a compiled step of a config in its own process, on one batch in memory.

Processes with different settings take turns, so other work on the machine slows all of
them alike:

    with Stepper("configs/celeba.py", 1) as one, Stepper("configs/celeba.py", 2) as two:
        ratios = take_turns([one, two], num_rounds=5, num_steps=2)
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class Stepper:
    """A process that runs steps on request."""

    def __init__(
        self,
        config: str,
        virtual_devices: int = 1,
        image_shape: tuple[int, int, int] = (128, 128, 3),
        changes: Mapping[str, Any] | None = None,
        num_threads: int | None = None,
    ) -> None:
        """Starts the process; several processes may start at the same time.

        Args:
            config: File of the experiment.
            virtual_devices: Number of virtual devices that share the CPU.
            image_shape: `[height, width, channels]` of the images, which are noise.
            changes: Values of changed settings, by name.
            num_threads: Number of threads that share a kernel's work; None for the
                trainer's default.
        """
        arguments = [
            config,
            virtual_devices,
            image_shape,
            dict(changes or {}),
            num_threads,
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.stepping", json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> "Stepper":
        """Returns the stepper itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Ends the process."""
        self.close()

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()

    def seconds_per_step(self, num_steps: int) -> float:
        """Returns the mean seconds of some steps; the first call includes tracing."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{num_steps}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the steps ended with {self._process.wait()}")
        return float(answer) / num_steps


def take_turns(
    steppers: Sequence[Stepper], num_rounds: int, num_steps: int
) -> np.ndarray:
    """Returns seconds per step, `[num_rounds, len(steppers)]`.

    Before the rounds, each process traces the steps, and makes one turn that does not
    count.
    """
    for stepper in steppers:
        stepper.seconds_per_step(1)
        stepper.seconds_per_step(num_steps)
    rounds = []
    for number in range(num_rounds):
        turns = list(enumerate(steppers))
        # Alternate the order, because each turn leaves its data in the caches.
        order = turns if number % 2 == 0 else turns[::-1]
        found = {at: stepper.seconds_per_step(num_steps) for at, stepper in order}
        rounds.append([found[at] for at, _ in turns])
    return np.array(rounds)


def _serve(
    config_file: str,
    virtual_devices: int,
    image_shape: list[int],
    changes: dict,
    num_threads: int | None,
) -> None:
    """Makes as many steps as each input line says, and prints their seconds."""
    import time

    import tensorflow as tf

    from benchmarks import compiled
    from trainer.distribution import strategies
    from trainer.numerics import exact, threads

    exact.configure(num_threads or threads.NUM_THREADS)
    strategy = strategies.make_strategy(0, virtual_devices)
    config = compiled.load_config(config_file, strategy, changes)
    run = compiled.make_run(config, strategy, image_shape)
    for line in sys.stdin:
        start_seconds = time.monotonic()
        values, _, _ = run.steps.train(run.batches, tf.constant(int(line), tf.int64))
        values.numpy()
        print(time.monotonic() - start_seconds, flush=True)


if __name__ == "__main__":
    _serve(*json.loads(sys.argv[1]))
