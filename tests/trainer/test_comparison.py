"""The page that compares several runs."""

import json
import pathlib

import numpy as np
import pytest

from tests.trainer.report_pages import Page, make_workdir, write_metrics
from tests.trainer.trained_runs import run_module
from trainer.reporting import image_grid
from trainer.reporting.html import page as pages
from trainer.runs import settings


def make_run(workdir: pathlib.Path, elbo: float, **config: object) -> pathlib.Path:
    """Returns the workdir of a run of two steps."""
    make_workdir(workdir, num_train_steps=2, **config)
    lines = [
        {"step": step, "split": split, "elbo": elbo - 2 + step, "beta": 1.0}
        for step in (1, 2)
        for split in ("train", "validation")
    ]
    write_metrics(workdir, *lines, {"step": 2, "split": "train", "kl": elbo})
    grid = np.full([4, 6, 3], 9, np.uint8)
    image_grid.save_png(workdir / "images/reconstruction/000000002.png", grid)
    return workdir


def compare(*workdirs: pathlib.Path) -> Page:
    output = workdirs[0] / "comparison.html"
    pages.write_comparison({path.name: path for path in workdirs}, output)
    return Page(output)


def test_what_differs_stands_first(tmp_path: pathlib.Path) -> None:
    page = compare(
        make_run(tmp_path / "a", -8.0, latent_dim=2, layer={"units": 3}, seed=0),
        make_run(tmp_path / "b", -5.5, latent_dim=4, layer={"units": 5}, seed=0),
    )
    assert (
        "b has the highest ELBO of the validation split: −5.5 nats per image at step "
        "2, 2.5 above a. The runs differ in latent_dim and layer.units.\n"
    ) in page.text
    cells = [text for text in page.text.split("\n") if text]
    assert cells[cells.index("latent_dim") :][:6] == [
        *("latent_dim", "2", "4", "layer.units", "3", "5")
    ]
    assert "seed" not in cells
    assert cells[cells.index("a") :][:4] == ["a", "2", "−8", "−8"]
    # Each run has its pictures and its curves; those of training are dashed.
    assert len(page.pictures()) == 2
    assert page.curves() == {
        ("elbo", f"{run} {split}"): 2
        for run in ("a", "b")
        for split in ("train", "validation")
    }
    styles = {line["data-label"]: line["class"] for line in page.all("polyline")}
    assert styles == {
        "a train": "curve-0 dashed",
        "a validation": "curve-0",
        "b train": "curve-1 dashed",
        "b validation": "curve-1",
    }


def test_what_cannot_be_compared_is_told(tmp_path: pathlib.Path) -> None:
    first, other = make_run(tmp_path / "a", -8.0), make_run(tmp_path / "b", -8.0)
    text = compare(first, other).text
    assert "nats per image at step 2, the same as b. All settings of the runs" in text
    dataset = json.loads((other / "dataset.json").read_text())
    dataset |= {"digest": "def456", "settings": {"source": "mnist"}}
    (other / "dataset.json").write_text(json.dumps(dataset))
    lines = (other / "metrics.jsonl").read_text().replace("validation", "test")
    (other / "metrics.jsonl").write_text(lines)
    text = compare(first, other).text
    assert "different datasets, so their values are not comparable" in text
    assert "evaluated on different splits, so no run is called the best" in text
    assert "--source\nfolder\n" in text.replace("\n\n", "\n")


@pytest.mark.parametrize("kind", ["runs", "sweep"])
def test_the_command_compares_runs_and_sweeps(kind: str, tmp_path) -> None:
    runs = [make_run(tmp_path / f"sweep/dim={n}", -8.0 - n, dim=n) for n in (2, 4, 8)]
    place, workdir = {
        "runs": (runs[0] / "comparison.html", ",".join(map(str, runs))),
        "sweep": (tmp_path / "sweep/report.html", tmp_path / "sweep"),
    }[kind]
    done = run_module("trainer.report", f"--workdir={workdir}")
    assert (done.returncode, done.stdout) == (0, f"written to {place}\n"), done.stderr
    assert "dim=2 · dim=4 · dim=8\n" in Page(place).text


def test_a_run_without_anything_is_compared(tmp_path: pathlib.Path) -> None:
    page = compare(make_workdir(tmp_path / "a"), make_run(tmp_path / "b", 1.0))
    assert page.curves() == {("elbo", "b train"): 2, ("elbo", "b validation"): 2}
    assert not page.pictures()


def test_changed_settings_of_a_run_stand_first(tmp_path: pathlib.Path) -> None:
    from configs import celeba

    config = settings.resolve(celeba.get_config(), num_replicas=1)
    config.latent_dim, config.loss_reduction = 8, "sum"
    values = json.loads(config.to_json())
    workdir = make_workdir(tmp_path / "a", **values)
    pages.write(workdir, workdir / "report.html")
    changed, _, rest = Page(workdir / "report.html").text.partition("settings of conf")
    cells = [text for text in changed.partition("changed setting")[2].split("\n")]
    assert [text for text in cells if text][:8] == [
        *("value", "in configs/celeba.py"),
        *("latent_dim", "8", "100", "loss_reduction", "sum", "mean"),
    ]
    assert "latent_dim\n8\n" in rest
