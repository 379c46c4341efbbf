"""Trains one config with several numbers of latents, and compares the results.

    python -m benchmarks.latent_sizes --config=configs/mnist_hafner.py --dataset=DIR
    python -m benchmarks.latent_sizes --dataset=DIR --change=num_train_steps=6000

Prints a row for each size, and adds it to benchmarks/history.csv: the ELBO of the
evaluated split, the KL divergence, the reconstructions' mean squared error in squared
0-255 levels, and the number of active latents. --change changes other settings.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from absl import app, flags

from benchmarks import results

_CONFIG = flags.DEFINE_string("config", "configs/mnist_hafner.py", "Config file.")
_DATASET = flags.DEFINE_string("dataset", None, "Dataset directory.", required=True)
_SIZES = flags.DEFINE_list("sizes", ["2", "4", "8", "16", "32"], "Numbers of latents.")
_CHANGES = flags.DEFINE_multi_string("change", [], "Setting to change, as NAME=VALUE.")


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
                *(f"--config.{change}" for change in _CHANGES.value),
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
                    "changes": ", ".join(_CHANGES.value) or "-",
                    "latents": size,
                    "ELBO": f"{found['elbo']:.2f}",
                    "KL": f"{found['kl']:.2f}",
                    "MSE": f"{found['mse_levels']:.0f}",
                    "active": str(found["active_units"]),
                },
            )


if __name__ == "__main__":
    app.run(main)
