"""The page of a run: its content, and that it needs no other file."""

import importlib.resources
import json
import pathlib
import re
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzzing import changed_json, reads_or_refuses
from tests.trainer.report_pages import Page, make_workdir, write, write_metrics
from tests.trainer.trained_runs import Run, run_module
from trainer.reporting import image_grid
from trainer.reporting.html import charts, pictures, work_time
from trainer.reporting.html import page as page_module
from trainer.reporting.html.page import write as write_page
from trainer.runs import checkpoints

TEMPLATES = pathlib.Path(page_module.__file__).parent / "templates"
GRIDS = (
    "reconstruction",
    "samples/sampled",
    "samples/interpolated",
    "latents/traversed",
    "samples/neighbours",
)


@pytest.fixture(scope="module")
def page(reference_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Page:
    path = tmp_path_factory.mktemp("pages") / "new" / "run.html"
    done = run_module(
        "trainer.report", f"--workdir={reference_run.workdir}", f"--output={path}"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"written to {path}\n"
    assert path.stat().st_size < 5_000_000
    assert [each.name for each in path.parent.iterdir()] == ["run.html"]
    return Page(path)


def test_nothing_is_loaded_from_elsewhere(page: Page) -> None:
    assert page.source.startswith("<!DOCTYPE html>")
    without_pictures = re.sub(r"base64,[\w+/=]+", "", page.source)
    assert "://" not in without_pictures
    assert "url(" not in without_pictures
    assert "@import" not in without_pictures
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object")
        assert attributes.get("src", "data:").startswith("data:")
        assert not [name for name in attributes if name.startswith("on")]
    (script,) = re.findall("<script>(.*?)</script>", page.source, re.DOTALL)
    assert script.strip() == (TEMPLATES / "charts.js").read_text().strip()


def test_the_bar_leads_to_every_section(page: Page) -> None:
    targets = [link["href"] for link in page.all("a")]
    sections = [section["id"] for section in page.all("section") if "id" in section]
    assert targets == [f"#{name}" for name in sections]
    assert targets[:2] == ["#pictures", "#curves"]


def test_every_metric_is_a_curve_with_all_its_points(
    page: Page, reference_run: Run
) -> None:
    lines = [
        json.loads(text)
        for text in (reference_run.workdir / "metrics.jsonl").read_text().splitlines()
    ]
    expected = {}
    for line in lines:
        for name in line.keys() - {"step", "split", "ledger"}:
            key = name, line["split"]
            expected[key] = expected.get(key, 0) + 1
    # The table shows a metric of one value, and a list metrics that never change.
    constant = {"learning_rate", "beta"}
    assert page.curves() == {
        key: num for key, num in expected.items() if num > 1 and key[0] not in constant
    }
    folded = page.text.partition("metrics that never changed")[2]
    assert re.match(r"\s*learning_rate\s*0.001\s*beta\s*7.68\s", folded)
    assert page.curves()["loss", "train"] == 50
    assert page.curves()["loss", "validation"] == 3
    assert {"images_per_second", "gradient_norm"} <= {n for n, _ in page.curves()}


def test_all_pictures_are_there_as_they_were_drawn(
    page: Page, reference_run: Run
) -> None:
    shown = {np.asarray(picture).tobytes() for picture in page.pictures()}
    images = reference_run.workdir / "images"
    for name in GRIDS:
        drawn = image_grid.load_png(images / name / "000000050.png")
        assert drawn.tobytes() in shown, name
    for step in (0, 25, 50):
        drawn = image_grid.load_png(images / f"samples/sampled/{step:09d}.png")
        assert drawn.tobytes() in shown, step
    assert len(page.all("img")) == len(GRIDS) + 3
    assert "Traversals" in page.text


def test_it_says_what_the_run_is(page: Page, reference_run: Run) -> None:
    config = json.loads((reference_run.workdir / "config.json").read_text())
    dataset = json.loads((reference_run.workdir / "dataset.json").read_text())
    (meta,) = (reference_run.workdir / "checkpoints").glob("*50/checkpoint.json")
    last = reference_run.metrics()[50]
    for text in (
        f"reference on {pathlib.Path(dataset['path']).name}\n",
        dataset["digest"],
        json.loads(meta.read_text())["sha256"],
        f"{last['ledger']} at step 50",
        "layer_defaults.activation\nrelu\n",
        "encoder_filters\n8, 16, 32\n",
        "--image_dtype\nfloat16\n",
        "validation, step 50",
        "time at work",
    ):
        assert text in page.text
    listed = page.text.partition("settings of config.json")[2]
    for name in config:
        assert f"\n{name}\n" in listed or f"\n{name}." in listed


def test_a_run_that_has_just_begun(tmp_path: pathlib.Path) -> None:
    page = write(make_workdir(tmp_path / "run", num_train_steps=-1))
    assert "has not written a metric yet" in page.text
    assert "has not drawn a picture yet" in page.text
    assert "none yet" in page.text
    assert not page.all("img")
    assert not page.all("svg")


def test_a_run_without_an_evaluation(tmp_path: pathlib.Path) -> None:
    workdir = make_workdir(tmp_path / "run", num_train_steps=100)
    write_metrics(
        workdir,
        {"step": 1, "split": "train", "loss": 2.0, "elbo": -1.0},
        {"step": 2, "split": "train", "loss": float("nan"), "elbo": -0.5},
        {"step": 3, "split": "train", "loss": 1.0, "elbo": -0.25},
    )
    page = write(workdir)
    assert "has not been evaluated yet" in page.text
    assert "best ELBO" not in page.text
    assert page.curves() == {("loss", "train"): 2, ("elbo", "train"): 3}
    assert {"style": "width: 3.0%"} in page.all("div")


def test_text_of_the_run_is_no_markup(tmp_path: pathlib.Path) -> None:
    name = "a <b>&\"'"
    config = {"<i>key": "</td><script>", "half": "\ud800"}
    workdir = make_workdir(tmp_path / name, **config)
    line = {"split": "<u>", "<s>&": 1.0, "elbo": 2.0}
    write_metrics(workdir, {"step": 1, **line}, {"step": 2, **line, "<s>&": 2.0})
    image_grid.save_png(
        workdir / "images/<em>/000000001.png", np.zeros([4, 4, 3], np.uint8)
    )
    page = write(workdir)
    assert f"{name} on faces\n" in page.text
    for text in ("<i>key", "</td><script>", "<u>, step 2", "<s>&", "<em>"):
        assert text in page.text
    assert page.curves()["<s>&", "<u>"] == 2
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"b", "i", "u", "s", "em"}
    assert len(page.all("script")) == 1


def test_damage_is_left_out_and_counted(tmp_path: pathlib.Path) -> None:
    workdir = make_workdir(tmp_path / "run")
    good = [{"step": step, "split": "train", "kl": 1.0 * step} for step in (1, 2)]
    write_metrics(workdir, good[0], [1], {"step": "x", "split": "train"}, good[1])
    with open(workdir / "metrics.jsonl", "ab") as file:
        file.write(b'\xff\n{"step": 3, "spl\n{"step": 4, "split": "train", "k')
    for step in (1, 2):
        image_grid.save_png(
            workdir / f"images/reconstruction/{step:09d}.png",
            np.zeros([4, 4, 3], np.uint8),
        )
    (workdir / "images/reconstruction/000000002.png").write_bytes(b"\x89PNG\r\n")
    (workdir / "checkpoints/step-000000002").mkdir(parents=True)
    (workdir / "checkpoints/step-000000002/checkpoint.json").write_text("{")
    page = write(workdir)
    # A last line without its end counts as still being written, and not as damaged.
    assert "4 damaged lines of metrics.jsonl left out" in page.text
    assert "images/reconstruction/000000002.png" in page.text
    assert page.curves() == {("kl", "train"): 2}
    assert not page.all("img")


def test_the_newest_checkpoint_is_a_whole_one(tmp_path: pathlib.Path) -> None:
    workdir = make_workdir(tmp_path / "run")
    write_metrics(workdir)
    for step in (1, 2):
        path = checkpoints.save(
            workdir / "checkpoints", step, {"step": np.int64(step)}, {}
        )
    (path / "state.safetensors").write_bytes(b"")
    text = write(workdir).text
    assert "newest checkpoint, step 1," in text
    assert path.is_dir()


def test_large_pictures_and_long_runs_stay_small(tmp_path: pathlib.Path) -> None:
    workdir = make_workdir(tmp_path / "run")
    noise = np.random.default_rng(0).integers(0, 256, [1500, 3000, 3], np.uint8)
    image_grid.save_png(workdir / "images/reconstruction/000000001.png", noise)
    lines = [
        {"step": step, "split": "train", "loss": 9.0 if step == 5000 else step % 7}
        for step in range(10_000)
    ]
    write_metrics(workdir, *lines)
    page = write(workdir)
    (picture,) = page.pictures()
    assert picture.size == (1200, 600)
    assert 500 < page.curves()["loss", "train"] <= 600
    assert (workdir / "report.html").stat().st_size < 2_500_000


def test_generated_pictures_are_shown(tmp_path: pathlib.Path, monkeypatch) -> None:
    workdir = make_workdir(tmp_path / "run")
    generated, grid = workdir / "generated", np.zeros([4, 4, 3], np.uint8)
    for name in ("sample.png", ".part.png", "projector-test/projector/sprite.png"):
        image_grid.save_png(generated / name, grid)
    image_grid.save_gif(generated / "interpolate.gif", [grid, grid + 255])
    (generated / "damaged.png").write_bytes(b"x")
    page = write(workdir)
    assert [image["alt"] for image in page.all("img")] == [
        *("interpolate.gif", "sample.png")
    ]
    gif, png = [image["src"].partition(";")[0] for image in page.all("img")]
    assert (gif, png) == ("data:image/gif", "data:image/png")
    assert "left out: generated/damaged.png." in page.text
    # As one picture, a large animation would not move.
    monkeypatch.setattr(pictures, "_MAX_GIF_BYTES", 10)
    assert "generated/interpolate.gif" in write(workdir).text
    assert len(write(workdir).all("img")) == 1


@pytest.mark.parametrize(
    ("make", "flags", "message"),
    [
        (False, [], r"run does not exist: give the --workdir of a run"),
        (True, ["--output={}/page.txt"], r"must be a file name that ends in .html"),
        (True, ["--output=gs://a/b.html"], r"takes only local paths"),
        (
            True,
            ["--output={}/config.json/a.html"],
            r"cannot be written \(.*\): choose another",
        ),
    ],
)
def test_what_is_wrong_is_one_line(make, flags, message, tmp_path) -> None:
    workdir = tmp_path / "run"
    if make:
        make_workdir(workdir)
    flags = [flag.format(workdir) for flag in flags]
    done = run_module("trainer.report", f"--workdir={workdir}", *flags)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert re.match(f"error: .*{message}", line)


def test_a_damaged_config_is_named(tmp_path: pathlib.Path) -> None:
    workdir = make_workdir(tmp_path / "run")
    (workdir / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json is damaged"):
        write_page(workdir, workdir / "report.html")
    assert not (workdir / "report.html").exists()


@settings(max_examples=max(50, settings().max_examples // 100))
@given(
    config=changed_json({"num_train_steps": 9, "layer": {"filters": [8]}}),
    dataset=changed_json(
        {"digest": "ab", "path": "a/b", "settings": {"image_size": 32, "source": "a"}}
    ),
    metrics=st.lists(
        changed_json({"step": 2, "split": "train", "elbo": -3.5, "ledger": "ab"}),
        max_size=4,
    ),
    meta=changed_json({"step": 2, "num_bytes": 9, "sha256": "ab"}),
    score=changed_json({"step": 2, "split": "test", "kl": 2.0, "each": [1, 2.5]}),
)
def test_files_of_any_content(config, dataset, metrics, meta, score) -> None:
    with tempfile.TemporaryDirectory() as directory:
        workdir = make_workdir(pathlib.Path(directory) / "run")
        write_metrics(workdir, *metrics)
        for name, body in (
            ("config.json", config),
            ("dataset.json", dataset),
            ("checkpoints/step-000000002/checkpoint.json", meta),
            ("evaluation/test.json", score),
        ):
            (workdir / name).parent.mkdir(parents=True, exist_ok=True)
            (workdir / name).write_text(json.dumps(body))
        # The report reads a damaged checkpoint only if a newer one is whole.
        checkpoints.save(workdir / "checkpoints", 3, {"step": np.int64(3)}, {})
        page = workdir / "report.html"
        reads_or_refuses(
            ValueError,
            call=lambda: write_page(workdir, page),
            check=lambda _: check_page(page),
        )


def check_page(path: pathlib.Path) -> None:
    page = Page(path)
    assert page.all("title")
    page.pictures()


def test_pauses_are_no_work(tmp_path: pathlib.Path) -> None:
    def record(wall_time: float) -> bytes:
        event = b"\x09" + np.float64(wall_time).tobytes() + b"\x10\x01"
        return np.uint64(len(event)).tobytes() + b"crc1" + event + b"crc2"

    for name, times in (
        ("train/events.out.tfevents.1", [100, 160]),
        ("eval/events.out.tfevents.1", [101, 170]),
        ("train/events.out.tfevents.2", [1000, 1030]),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        # The last event is incomplete, as while it is being written.
        cut = record(9999.0)[:-5]
        path.write_bytes(b"".join(record(time) for time in times) + cut)
    assert work_time.busy_secs(tmp_path) == 100
    assert work_time.busy_secs(tmp_path / "eval") is None


@pytest.mark.parametrize(
    "values",
    [[0.0], [5e-324, 0.0], [-1e299, 1e299], [1e-12] * 3, [7, 7 + 1e-13], [3, -3]],
)
def test_any_values_make_a_chart(values: list[float]) -> None:
    series = {"train": [(step * 10**9, value) for step, value in enumerate(values)]}
    drawn = charts.curves(
        "x", series, {"train": charts.Style(0)}, 10**9 * (len(values) - 1)
    )
    assert "nan" not in drawn
    assert len(drawn) < 3000


def test_dark_and_narrow_screens_have_their_style() -> None:
    css = importlib.resources.files("trainer.reporting.html") / "templates/style.css"
    style = css.read_text()
    assert "prefers-color-scheme: dark" in style
    assert "max-width: 40rem" in style
    assert style.count("{") == style.count("}")
