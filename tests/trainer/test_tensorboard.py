"""TensorBoard's responses about runs; one run was killed and resumed."""

import io
import json
import pathlib
import re
import signal
import socket
import urllib.parse
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from tests.trainer.boards import Board, serving
from tests.trainer.trained_runs import (
    Run,
    run_module,
    start_training,
    stop_at_step,
    train,
)
from trainer.reporting import image_grid, tags, workdirs

# A scalar at every step and a picture at every third step: more pictures than the ten
# that TensorBoard shows by default.
FLAGS = (
    "--virtual_devices=1",
    "--config.checkpoint_every_secs=0",
    "--config.image_every_steps=3",
    "--config.latent_dim=4",
)
PICTURES = [*range(0, 50, 3), 50]
# Tags of the pictures by their directories.
GRIDS = {
    "reconstruction": "pictures/reconstruction",
    "samples/sampled": "pictures/samples",
    "samples/interpolated": "pictures/samples_interpolated",
    "latents/traversed": "pictures/traversals",
}
KL, RATIO = "posterior/kl_of_latents", "samples/memorisation_ratio"


@pytest.fixture(scope="module")
def killed_run(
    dataset_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """Returns a run of 50 steps that was killed at about step 30 and resumed."""
    workdir = tmp_path_factory.mktemp("runs") / "killed"
    process = start_training(dataset_dir, workdir, *FLAGS)
    killed = stop_at_step(process, workdir, 30, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    run = train(dataset_dir, workdir, *FLAGS)
    assert run.returncode == 0, run.output
    assert "resuming at step" in run.output
    return run


@pytest.fixture(scope="module")
def board(killed_run: Run, reference_run: Run) -> Iterator[Board]:
    with serving(killed_run.workdir, reference_run.workdir) as board:
        yield board


@pytest.mark.slow
def test_the_tags_that_scripts_rely_on_are_there(board: Board) -> None:
    scalars = board.plugin("scalars/tags")
    terms = {
        "objective/loss",
        "objective/elbo",
        "objective/recon_nll",
        "objective/kl",
        "objective/pixel_loss",
        "objective/latent_loss",
        "posterior/mean",
        "posterior/variance",
    }
    ours = {
        "training/gradient_norm",
        "training/learning_rate",
        "training/beta",
        "system/images_per_second",
        "system/data_wait_percent",
        "system/process_mib",
    }
    for name in ("killed", "reference"):
        assert terms | ours == scalars[f"{name}/train"].keys()
        evaluated = terms | {"posterior/active_units", RATIO}
        assert evaluated == scalars[f"{name}/eval"].keys()
        shown = board.plugin("images/tags")[f"{name}/eval"]
        assert {*GRIDS.values(), "pictures/samples_neighbours"} == shown.keys()
        texts = board.plugin("text/tags")[f"{name}/train"]
        assert {"config", "dataset", "objective"} == set(texts)
        assert board.plugin("histograms/tags")[f"{name}/eval"].keys() == {KL}
        for found in (scalars[f"{name}/train"], scalars[f"{name}/eval"], shown):
            for tag in found.values():
                assert tag["description"].startswith("<p>")


def test_every_picture_is_shown_as_it_was_drawn(board: Board, killed_run: Run) -> None:
    for name, tag in GRIDS.items():
        shown = board.plugin("images/images", run="killed/eval", tag=tag, sample="0")
        assert [each["step"] for each in shown] == PICTURES
        query = dict(urllib.parse.parse_qsl(shown[-1]["query"]))
        png = board.fetch("plugin/images/individualImage", **query)
        last = Image.open(io.BytesIO(png))
        drawn = image_grid.load_png(killed_run.workdir / f"images/{name}/000000050.png")
        np.testing.assert_array_equal(np.asarray(last), drawn)


def test_nothing_is_shown_twice_after_a_kill(board: Board) -> None:
    expected = {"train": list(range(1, 51)), "eval": [0, 25, 50]}
    for run, found in board.plugin("scalars/tags").items():
        steps = expected[run.partition("/")[2]]
        for tag in found.keys() - {RATIO}:
            actual = board.steps("scalars/scalars", run, tag)
            if tag in ("system/images_per_second", "system/data_wait_percent"):
                # The first call after a start has no rate, because it includes the
                # compilation.
                assert sorted(set(actual)) == actual
                assert set(steps) > set(actual)
            else:
                assert actual == steps, (run, tag)
    for run in ("killed/eval", "reference/eval"):
        points = board.plugin("histograms/histograms", run=run, tag=KL)
        assert [step for _, step, _ in points] == [0, 25, 50]


def test_settings_and_final_metrics_are_compared(
    board: Board, killed_run: Run, reference_run: Run
) -> None:
    experiment = board.plugin("hparams/experiment", {"experimentName": ""})
    infos = experiment["hparamInfos"]
    # Settings that differ between runs stand first.
    assert infos[0]["name"] == "latent_dim"
    names = {info["name"] for info in infos}
    assert {"learning_rate", "layer_defaults.activation", "dataset"} <= names
    assert "log_every_steps" not in names
    metrics = [
        {"name": {"tag": tag, "group": ""}}
        for tag in ("objective/elbo", "objective/loss", "posterior/active_units")
    ]
    groups = board.plugin(
        "hparams/session_groups",
        {
            "experimentName": "",
            "allowedStatuses": ["STATUS_UNKNOWN"],
            "colParams": [{"metric": metric["name"]} for metric in metrics],
            "startIndex": 0,
            "sliceSize": 10,
        },
    )["sessionGroups"]
    actual = {group["name"]: group for group in groups}
    # The names of the runs in Scalars.
    assert actual.keys() == {"killed/eval", "reference/eval"}
    assert actual["killed/eval"]["hparams"]["latent_dim"] == 4
    assert actual["reference/eval"]["hparams"]["latent_dim"] == 8
    for run in (killed_run, reference_run):
        last = run.metrics("validation")[50]
        values = actual[f"{run.workdir.name}/eval"]["metricValues"]
        by_tag = {tags.of_scalar(name).name: last[name] for name in last}
        for value in values:
            assert value["trainingStep"] == 50
            expected = by_tag.pop(value["name"]["tag"])
            assert value["value"] == pytest.approx(expected, rel=1e-6)
        assert {tag for tag in by_tag if "/" in tag} == {
            "objective/step",
            "objective/split",
        }


def test_the_projector_has_points_with_their_features_and_images(
    board: Board, reference_run: Run
) -> None:
    runs = board.plugin("projector/runs")
    assert sorted(runs) == ["killed/eval", "reference/eval"]
    run = "reference/eval"
    (embedding,) = board.plugin("projector/info", run=run)["embeddings"]
    assert embedding["tensorName"] == "validation latents at step 50"
    assert embedding["tensorShape"] == [11, 8]
    query = {"run": run, "name": embedding["tensorName"]}
    points = np.frombuffer(board.fetch("plugin/projector/tensor", **query), np.float32)
    path = reference_run.workdir / "eval/projector/latents.tsv"
    np.testing.assert_allclose(points.reshape(11, 8), np.loadtxt(path), rtol=1e-5)
    lines = board.fetch("plugin/projector/metadata", **query).decode().splitlines()
    header, *rows = [line.split("\t") for line in lines]
    assert header[0] == "key"
    assert {"Smiling", "lefteye_x"} <= set(header)
    assert len(rows) == 11
    assert {len(row) for row in rows} == {len(header)}
    assert {row[header.index("Smiling")] for row in rows} <= {"0", "1"}
    sprite = Image.open(
        io.BytesIO(board.fetch("plugin/projector/sprite_image", **query))
    )
    assert sprite.size == (4 * 32, 4 * 32)


def test_texts_and_the_graph_say_what_the_run_is(
    board: Board, dataset_dir: pathlib.Path
) -> None:
    texts = {
        tag: board.plugin("text/text", run="killed/train", tag=tag)[-1]["text"]
        for tag in ("config", "dataset", "objective")
    }
    # TensorBoard renders Markdown; settings unlike the flagship's stand first.
    rows = re.findall(r"<td>(.*?)</td>\s*<td>(.*?)</td>", texts["config"], re.DOTALL)
    assert rows.index(("latent_dim", "4")) < rows.index(("beta", "1.0"))
    assert "<td>100</td>" in texts["config"].partition("other setting")[0]
    digest = json.loads((dataset_dir / "manifest.json").read_text())["digest"]
    assert digest in texts["dataset"]
    assert "96 examples" in texts["dataset"]
    assert "beta = 7.68" in texts["objective"]
    graph = board.fetch("plugin/graphs/graph", run="killed/train").decode()
    assert "encoder" in graph
    assert "decoder" in graph
    # The run is unconditional.
    assert "conditions" not in graph


def test_a_run_by_itself_needs_no_name(reference_run: Run) -> None:
    with serving(reference_run.workdir) as board:
        assert sorted(json.loads(board.fetch("runs"))) == ["eval", "train"]


def test_wrong_flags_are_one_line(reference_run: Run, tmp_path: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for flags, message in (
            ([], "error: --workdir is needed: for example python -m"),
            ([f"--workdir={tmp_path}"], f"error: --workdir={tmp_path} holds no run"),
            (
                [f"--workdir={reference_run.workdir}", f"--port={port}"],
                f"--port={port} (TensorBoard could not bind to port {port}",
            ),
        ):
            done = run_module("trainer.tensorboard", *flags)
            assert done.returncode == 1, done
            assert message in done.stderr.splitlines()[-1]
            assert "Traceback" not in done.stderr


def test_a_comma_separates_workdirs_unless_it_is_in_a_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    one, two, both = (tmp_path / name for name in ("a", "b", "a,b"))
    for path in (one, two):
        path.mkdir()
    assert workdirs.split("~/a,~/b,") == [one, two]
    with pytest.raises(ValueError, match=f"but {both.parent}/c does not exist"):
        workdirs.split(f"{one},{tmp_path}/c")
    with pytest.raises(ValueError, match="^workdir=~/a,gs://b: this is a URL"):
        workdirs.split("~/a,gs://b")
    both.mkdir()
    assert workdirs.split("~/a,b") == [both]


def test_names_are_as_short_as_tells_runs_apart(tmp_path: pathlib.Path) -> None:
    paths = [tmp_path / part for part in ("old/a", "old/b", "new/a")]
    for workdir in paths:
        workdir.mkdir(parents=True)
        (workdir / "config.json").touch()
    assert list(workdirs.names_of(paths[:2])) == ["a", "b"]
    assert list(workdirs.names_of(paths)) == ["old.a", "old.b", "new.a"]
    assert list(workdirs.names_of([paths[0]] * 2)) == ["a"]
