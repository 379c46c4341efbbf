import pathlib

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector import projector_config_pb2

from pipeline import contract
from tests.trainer.trained_runs import Run
from trainer.analysis import posteriors
from trainer.numerics import exact
from trainer.reporting import projector, projector_points, tensorboard_server
from trainer.reporting.run_writer import RunWriter
from trainer.runs import trained


@pytest.fixture(scope="module")
def run(reference_run: Run) -> trained.TrainedRun:
    exact.configure()
    return trained.load(reference_run.workdir)


def test_rows_features_and_thumbnails_are_of_the_same_examples(
    run: trained.TrainedRun, tmp_path: pathlib.Path
) -> None:
    projector.write(tmp_path, run)
    encoded = posteriors.encode_split(run, "validation")
    latents = np.loadtxt(tmp_path / "projector/latents.tsv")
    np.testing.assert_allclose(latents, encoded.posterior_mean, rtol=1e-4, atol=1e-5)
    lines = (tmp_path / "projector/metadata.tsv").read_text().splitlines()
    header, *rows = [line.split("\t") for line in lines]
    assert [row[0] for row in rows] == encoded.keys.tolist()
    smiling = run.manifest.features["attributes"].names.index("Smiling")
    actual = [int(row[header.index("Smiling")]) for row in rows]
    assert actual == encoded.features["attributes"][:, smiling].tolist()
    sprite = np.asarray(Image.open(tmp_path / "projector/sprite.png"))
    # The sprite is square, although eleven images need only three rows of four.
    assert sprite.shape == (4 * 32, 4 * 32, 3)
    (batch,) = run.batches("validation", 11)
    levels = (batch["image"][5] + 1) * 127.5
    np.testing.assert_allclose(sprite[32:64, 32:64], levels, atol=0.51)


def test_a_later_step_takes_the_place_of_one_before(
    run: trained.TrainedRun, tmp_path: pathlib.Path
) -> None:
    config_path = tmp_path / "eval/projector_config.pbtxt"
    projector.write(tmp_path / "eval", run)
    assert "validation latents at step 50" in config_path.read_text()
    # A run that resumes at step 50 or later keeps the files; a run that repeats step 50
    # removes them.
    RunWriter(tmp_path, last_step=50).close()
    assert config_path.exists()
    RunWriter(tmp_path, last_step=49).close()
    assert not config_path.exists()
    assert not (tmp_path / "eval/projector").exists()


def test_points_of_a_split_are_no_run_of_their_own(
    run: trained.TrainedRun, tmp_path: pathlib.Path
) -> None:
    workdir = tmp_path / "faces"
    folder = workdir / "generated/projector-test"
    folder.mkdir(parents=True)
    other = tmp_path / "other"
    other.mkdir()
    for path in (workdir, other):
        (path / "config.json").touch()
    # An earlier version wrote such a file, and TensorBoard shows a run for it.
    (folder / "events.out.tfevents.0000000001.host.1.v2").touch()
    projector.write_split(folder, run, "test")
    assert not list(folder.glob("events.*"))
    assert projector_points.find(workdir) == [folder]
    for workdirs, name in (
        ([workdir], "faces: "),
        # The directory of a sweep.
        ([tmp_path], "faces: "),
        ([workdir, other], "faces: "),
    ):
        with tensorboard_server.as_one_directory(workdirs) as root:
            if tmp_path not in workdirs:
                # TensorBoard would look for events of earlier versions here.
                for place in ("generated", "faces/generated"):
                    assert not pathlib.Path(root, place).exists()
            config = text_format.Parse(
                pathlib.Path(root, "projector_config.pbtxt").read_text(),
                projector_config_pb2.ProjectorConfig(),
            )
            (embedding,) = config.embeddings
            assert embedding.tensor_name == f"{name}test latents at step 50"
            for path, file in (
                (embedding.tensor_path, "latents.tsv"),
                (embedding.metadata_path, "metadata.tsv"),
                (embedding.sprite.image_path, "sprite.png"),
            ):
                # TensorBoard refuses files outside its root, also by links.
                actual = pathlib.Path(root, path).resolve()
                assert actual.is_relative_to(pathlib.Path(root).resolve())
                written = (folder / "projector" / file).read_bytes()
                assert actual.read_bytes() == written


def test_large_images_are_shown_small() -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (2, 96, 192, 1))
    size = projector._thumbnail_size((96, 192, 1), num_points=2000)
    assert size == (24, 48)
    small = projector._thumbnails(images, size)
    means = images.reshape(2, 24, 4, 48, 4, 1).mean(axis=(2, 4))
    np.testing.assert_allclose(small, (means + 1) * 127.5, atol=0.51)


def test_a_sprite_is_never_too_large_for_a_browser() -> None:
    for num_points in (1, 7_225, 7_226, 162_770):
        height, width = projector._thumbnail_size((64, 64, 3), num_points)
        assert height == width == (48 if num_points <= 7_225 else height)
        assert projector._side(num_points) * width <= projector._MAX_SPRITE_SIDE


def test_a_class_is_shown_by_its_name_and_a_key_in_one_line() -> None:
    manifest = contract.Manifest(
        "d",
        {},
        "ab",
        {
            "key": contract.Feature("string"),
            "image": contract.Feature("float32", (4, 4, 1)),
            "label": contract.Feature("int64", (), ("cat", "dog")),
            "boxes": contract.Feature("int64", (2,)),
        },
        {},
    )
    batch = {"key": np.array(["a\tb", "c\n"]), "label": np.array([1, -1])}
    assert projector._header(manifest) == ["key", "label"]
    assert projector._lines(batch, manifest) == [["a b", "dog"], ["c", "-1"]]
