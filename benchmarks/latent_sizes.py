"""Trains one config with several numbers of latents, and compares what they carry.

    python -m benchmarks.latent_sizes --config=configs/mnist_hafner.py --dataset=DIR

Prints a row for each size: the ELBO of the evaluated split, the KL divergence, and how
many latents are active. A row each is added to benchmarks/RESULTS.md. Flags of
`trainer.train` can be passed on with --train_flag.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from absl import app, flags

from benchmarks import results

_CONFIG = flags.DEFINE_string("config", "configs/mnist_hafner.py", "Experiment.")
_DATASET = flags.DEFINE_string("dataset", None, "Dataset directory.", required=True)
_SIZES = flags.DEFINE_list("sizes", ["2", "4", "8", "16", "32"], "Numbers of latents.")
_TRAIN_FLAGS = flags.DEFINE_multi_string("train_flag", [], "Passed to trainer.train.")


def run(module: str, *args: str) -> None:
    """Runs one of our commands."""
    subprocess.run([sys.executable, "-m", module, *args], check=True)


def main(argv: list[str]) -> None:
    """Trains, evaluates and records."""
    del argv
    with tempfile.TemporaryDirectory() as work:
        for size in _SIZES.value:
            workdir = pathlib.Path(work, size)
            run(
                "trainer.train",
                f"--config={_CONFIG.value}",
                f"--config.latent_dim={size}",
                f"--dataset={_DATASET.value}",
                f"--workdir={workdir}",
                *_TRAIN_FLAGS.value,
            )
            scores = workdir / "scores.json"
            run("trainer.evaluate", f"--workdir={workdir}", f"--output={scores}")
            found = json.loads(scores.read_text())
            results.add_row(
                "latent_sizes",
                {
                    "config": pathlib.Path(_CONFIG.value).stem,
                    "split": found["split"],
                    "steps": str(found["step"]),
                    "latents": size,
                    "ELBO": f"{found['elbo']:.2f}",
                    "KL": f"{found['kl']:.2f}",
                    "active": str(found["active_units"]),
                },
            )


if __name__ == "__main__":
    app.run(main)
