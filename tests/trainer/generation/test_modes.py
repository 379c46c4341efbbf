"""Every mode of trainer.generate: its files, and their values from the model itself."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from tests.golden import golden_commands as golden
from trainer.analysis import examples
from trainer.analysis.latents import mixture
from trainer.generation import (
    attribute_directions,
    latent_ranking,
    modes,
    requests,
)
from trainer.reporting import image_grid
from trainer.runs.trained import TrainedRun

REQUEST = requests.Request(
    mode="sample", split="train", num=4, seed=3, num_components=2, limit=2.0
)


def make(
    run: TrainedRun, output: pathlib.Path, mode: str, **changes: object
) -> set[str]:
    """Makes the files of a mode, and returns their names without the arguments."""
    output.mkdir(exist_ok=True)
    request = dataclasses.replace(REQUEST, mode=mode, **changes)
    modes.make(run, request, output)
    for path in list(output.glob(f"{request.name()}*")):
        path.rename(output / path.name.replace(request.name(), mode))
    return {path.name for path in output.iterdir()}


def load(path: pathlib.Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def first_examples(run: TrainedRun, split: str, num: int) -> dict[str, np.ndarray]:
    """Returns the first examples of a split, with their posteriors."""
    batch = next(run.batches(split, num))
    mean, log_var = run.vae.encode(batch["input"], batch["conditions"])
    return {**batch, "mean": np.asarray(mean), "log_var": np.asarray(log_var)}


def probabilities(run: TrainedRun, z: np.ndarray, conditions: np.ndarray) -> np.ndarray:
    """Returns the probability of white by the decoder's logits."""
    logits = np.asarray(run.vae.decode(z.astype(np.float32), conditions))
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def classes(num: int) -> np.ndarray:
    """Returns the conditions of images that go through both classes in turn."""
    return np.eye(2, dtype=np.float32)[np.arange(num) % 2]


def cells(path: pathlib.Path, side: int) -> np.ndarray:
    """Returns the images of a grid row by row, `[n, side, side, 3]` uint8."""
    grid = image_grid.load_png(path)
    rows, columns = grid.shape[0] // side, grid.shape[1] // side
    parts = grid.reshape(rows, side, columns, side, 3).swapaxes(1, 2)
    return parts.reshape(-1, side, side, 3)


def labelled_cells(path: pathlib.Path, shape: tuple[int, int]) -> np.ndarray:
    """Returns the images of 8 px in a picture with labels, `[n, 8, 8, 3]` uint8."""
    rows, columns = shape
    picture = image_grid.load_png(path)[-48 * rows :, -48 * columns :]
    # Each pixel has become 6 x 6 pixels.
    parts = picture[::6, ::6].reshape(rows, 8, columns, 8, 3).swapaxes(1, 2)
    return parts.reshape(-1, 8, 8, 3)


def check_levels(actual: np.ndarray, share_of_white: np.ndarray) -> None:
    np.testing.assert_allclose(actual, 255 * share_of_white, rtol=0, atol=0.51)


def check_predictive(
    run: TrainedRun, output: pathlib.Path, name: str, conditions: np.ndarray
) -> dict[str, np.ndarray]:
    """Checks probabilities and draws against the decoder; returns the arrays."""
    arrays = load(output / f"{name}.npz")
    expected = probabilities(run, arrays["z"], conditions)
    np.testing.assert_allclose(arrays["probability"], expected, rtol=0, atol=1e-5)
    assert set(np.unique(arrays["sample"])) == {-1, 1}
    is_white = arrays["sample"] == 1
    # Five standard errors of the mean of the draws, whose deviation is at most 0.5.
    bound = 5 * 0.5 / np.sqrt(is_white.size)
    assert np.mean(is_white - expected) == pytest.approx(0, abs=bound)
    check_levels(cells(output / f"{name}-probability.png", 8), arrays["probability"])
    check_levels(cells(output / f"{name}-draw.png", 8), is_white)
    return arrays


def test_every_mode_has_a_test() -> None:
    tested = {name.split("_in_mode_")[-1] for name in globals() if "_in_mode_" in name}
    assert tested == set(requests.MODES) - {"browse"}, "test_browser.py has browse"


def test_pairs_are_the_examples_and_their_decoded_means_in_mode_reconstruct(
    binary_run: TrainedRun, tmp_path: pathlib.Path
) -> None:
    names = make(binary_run, tmp_path, "reconstruct")
    assert names == {"reconstruct.png", "reconstruct.npz"}
    shown = first_examples(binary_run, "train", 4)
    arrays = load(tmp_path / "reconstruct.npz")
    assert arrays["keys"].tolist() == shown["key"].tolist()
    np.testing.assert_allclose(arrays["z"], shown["mean"], rtol=0, atol=1e-5)
    expected = probabilities(binary_run, shown["mean"], shown["conditions"])
    np.testing.assert_allclose(arrays["probability"], expected, rtol=0, atol=1e-5)
    assert set(np.unique(arrays["sample"])) == {-1, 1}
    assert image_grid.load_png(tmp_path / "reconstruct.png").shape[:2] == (8, 64)
    pictures = cells(tmp_path / "reconstruct.png", 8)
    check_levels(pictures[::2], (shown["image"] + 1) / 2)
    check_levels(pictures[1::2], arrays["probability"])
    make(binary_run, tmp_path, "reconstruct", num=7)
    # Seven pairs in two rows of five.
    pictures = cells(tmp_path / "reconstruct.png", 8)
    assert len(pictures) == 20
    assert not pictures[14:].any()


def test_latents_are_drawn_about_their_means_in_mode_posterior(
    binary_run: TrainedRun, tmp_path: pathlib.Path
) -> None:
    names = make(binary_run, tmp_path / "3", "posterior", num=14)
    assert names == {
        "posterior.npz",
        "posterior-probability.png",
        "posterior-draw.png",
    }
    shown = first_examples(binary_run, "train", 14)
    arrays = check_predictive(
        binary_run, tmp_path / "3", "posterior", shown["conditions"]
    )
    assert arrays["keys"].tolist() == shown["key"].tolist()
    noise = (arrays["z"] - shown["mean"]) / np.exp(shown["log_var"] / 2)
    assert noise.std() == pytest.approx(1, abs=0.3)
    assert noise.mean() == pytest.approx(0, abs=0.4)
    make(binary_run, tmp_path / "4", "posterior", num=14, seed=4)
    other = load(tmp_path / "4" / "posterior.npz")
    assert (other["z"] != arrays["z"]).all()
    make(binary_run, tmp_path / "again", "posterior", num=14)
    for name, values in load(tmp_path / "again" / "posterior.npz").items():
        np.testing.assert_array_equal(values, arrays[name], err_msg=name)


def test_one_class_is_drawn_if_asked_in_mode_posterior(
    binary_run: TrainedRun, tmp_path: pathlib.Path
) -> None:
    make(binary_run, tmp_path, "posterior", num=3, where="label=1")
    whole = first_examples(binary_run, "train", 14)
    keys = whole["key"][whole["label"] == 1][:3]
    arrays = check_predictive(
        binary_run, tmp_path, "posterior", np.tile(classes(2)[1], (3, 1))
    )
    assert arrays["keys"].tolist() == keys.tolist()


def test_draws_of_the_prior_go_through_the_classes_in_mode_sample(
    binary_run: TrainedRun, tmp_path: pathlib.Path
) -> None:
    names = make(binary_run, tmp_path / "all", "sample", num=9)
    assert names == {"sample.npz", "sample-probability.png", "sample-draw.png"}
    arrays = check_predictive(binary_run, tmp_path / "all", "sample", classes(9))
    assert arrays["z"].shape == (9, 4)
    assert arrays["z"].std() == pytest.approx(1, abs=0.4)
    grid = image_grid.load_png(tmp_path / "all" / "sample-draw.png")
    assert grid.shape == (24, 24, 3), "nine images are a square"
    make(binary_run, tmp_path / "one", "sample", num=9, where="label=1")
    of_class = np.tile(classes(2)[1], (9, 1))
    same = check_predictive(binary_run, tmp_path / "one", "sample", of_class)
    np.testing.assert_array_equal(same["z"], arrays["z"])


def test_a_mixture_takes_the_place_of_the_prior_in_mode_sample(
    binary_run: TrainedRun, tmp_path: pathlib.Path
) -> None:
    names = make(binary_run, tmp_path, "sample", prior="mixture", num=6)
    assert names >= {"sample-mixture.npz", "sample.npz"}
    fitted = mixture.load(tmp_path / "sample-mixture.npz")
    assert fitted.means.shape == (2, 4)
    arrays = check_predictive(binary_run, tmp_path, "sample", classes(6))
    np.testing.assert_array_equal(arrays["z"], fitted.sample(6, REQUEST.seed))


@pytest.mark.parametrize("suffix", ["json", "npy"])
def test_given_latents_have_the_outputs_of_the_model_in_mode_decode(
    binary_run: TrainedRun, tmp_path: pathlib.Path, suffix: str
) -> None:
    z = np.array([[0.5, -1, 0, 2], [0, 0, 0, 0], [3, 1, -2, 0.25]])
    path = tmp_path / f"z.{suffix}"
    if suffix == "npy":
        np.save(path, z)
    else:
        path.write_text(json.dumps(z.tolist()))
    names = make(binary_run, tmp_path / "made", "decode", latents=str(path))
    assert names == {"decode.npz", "decode-probability.png", "decode-draw.png"}
    arrays = check_predictive(binary_run, tmp_path / "made", "decode", classes(3))
    np.testing.assert_array_equal(arrays["z"], z)


def test_a_decoded_face_is_the_mean_of_the_model_in_mode_decode(
    face_run: TrainedRun, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "z.json").write_text("[0.5, -1, 0, 2]")
    make(face_run, tmp_path, "decode", latents=str(tmp_path / "z.json"))
    shown = first_examples(face_run, "train", 1)
    z = np.array([[0.5, -1, 0, 2]], np.float32)
    expected = np.asarray(face_run.vae.decode(z, shown["conditions"]))
    arrays = load(tmp_path / "decode.npz")
    assert set(arrays) == {"z", "mean"}
    np.testing.assert_allclose(arrays["mean"], expected, rtol=0, atol=1e-5)
    check_levels(cells(tmp_path / "decode.png", 16), (expected + 1) / 2)


@pytest.mark.parametrize("source", ["transform", "reconstruct"])
def test_latents_of_another_mode_are_decoded_in_mode_decode(
    binary_run: TrainedRun, tmp_path: pathlib.Path, source: str
) -> None:
    make(binary_run, tmp_path, source)
    path = tmp_path / f"{source}.npz"
    made = load(path)
    make(binary_run, tmp_path / "made", "decode", latents=str(path))
    arrays = load(tmp_path / "made" / "decode.npz")
    expected = made["z"] if source == "reconstruct" else made["posterior_mean"]
    np.testing.assert_array_equal(arrays["z"], expected)
    np.savez(tmp_path / "other.npz", mean=np.zeros([2, 4]))
    with pytest.raises(ValueError, match="nor an npz file of trainer.generate with"):
        make(binary_run, tmp_path, "decode", latents=str(tmp_path / "other.npz"))


@pytest.mark.parametrize("draws", [None, False, True])
def test_draws_are_pictures_if_asked_in_mode_sample(
    binary_run: TrainedRun,
    face_run: TrainedRun,
    tmp_path: pathlib.Path,
    draws: bool | None,
) -> None:
    names = make(face_run, tmp_path / "face", "sample", draws=draws)
    expected = {"sample.npz", "sample.png"} | ({"sample-draw.png"} if draws else set())
    assert names == expected
    arrays = load(tmp_path / "face" / "sample.npz")
    assert set(arrays) == {"z", "mean"} | ({"sample"} if draws else set())
    names = make(binary_run, tmp_path / "binary", "sample", draws=draws)
    assert ("sample-draw.png" in names) == (draws is not False)
    assert "sample-probability.png" in names


def test_pictures_show_a_hundred_images_in_mode_sample(
    binary_run: TrainedRun, tmp_path: pathlib.Path
) -> None:
    make(binary_run, tmp_path, "sample", num=120)
    assert len(load(tmp_path / "sample.npz")["z"]) == 120
    grid = image_grid.load_png(tmp_path / "sample-draw.png")
    assert grid.shape == (80, 80, 3)


def test_a_class_has_a_name_in_mode_posterior(
    binary_run: TrainedRun, tmp_path: pathlib.Path
) -> None:
    assert binary_run.manifest.features["label"].names == ("even", "odd")
    for name, where in (("name", "label=odd"), ("number", "label=1")):
        make(binary_run, tmp_path / name, "posterior", where=where)
    by_name, by_number = (
        load(tmp_path / name / "posterior.npz") for name in ("name", "number")
    )
    assert by_name["keys"].tolist() == by_number["keys"].tolist()
    with pytest.raises(ValueError, match="an integer, or one of even, odd$"):
        make(binary_run, tmp_path / "name", "posterior", where="label=Alice")


def test_requests_of_other_arguments_have_other_names() -> None:
    plain = requests.Request("sample")
    assert plain.name() == "sample"
    assert requests.Request("sample", num=25).name() == "sample"
    assert requests.Request("traverse", num=9).name() == "traverse"
    assert requests.Request("traverse", num=25).name() == "traverse-num=25"
    changed = {
        "split": "train+test",
        "image": ["/faces/a.jpg", "b c.png"],
        "where": "label=7",
        "num": 9,
        "seed": 1,
        "prior": "mixture",
        "num_components": 3,
        "latents": "/z/one.npy",
        "path": "spherical",
        "dimensions": ["1", "2"],
        "attributes": ["Smiling"],
        "limit": 2.5,
    }
    parts = {
        name: dataclasses.replace(plain, **{name: value}).name()
        for name, value in changed.items()
    }
    assert parts == {
        "split": "sample-train+test",
        "image": "sample-image=a,b_c",
        "where": "sample-where=label=7",
        "num": "sample-num=9",
        "seed": "sample-seed=1",
        "prior": "sample-prior=mixture",
        "num_components": "sample-num_components=3",
        "latents": "sample-latents=one",
        "path": "sample-path=spherical",
        "dimensions": "sample-dimensions=1,2",
        "attributes": "sample-attributes=Smiling",
        "limit": "sample-limit=2.5",
    }
    fields = {field.name for field in dataclasses.fields(plain)}
    assert fields - set(changed) == {"mode", "preprocess", "draws"}
    names = {
        requests.Request(
            "attributes", attributes=[*("Young", "Bald") * 40, last]
        ).name()
        for last in "ab"
    }
    assert len(names) == 2
    assert all(len(name) < 150 for name in names)


def test_no_file_of_latents_is_an_error_in_mode_decode(
    binary_run: TrainedRun, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(ValueError, match="^mode=decode needs latents=FILE"):
        make(binary_run, tmp_path, "decode")


def test_a_whole_split_is_encoded_in_mode_transform(
    binary_run: TrainedRun, tmp_path: pathlib.Path
) -> None:
    assert make(binary_run, tmp_path, "transform", num=1) == {"transform.npz"}
    arrays = load(tmp_path / "transform.npz")
    whole = first_examples(binary_run, "train", 14)
    assert arrays["keys"].tolist() == whole["key"].tolist()
    assert arrays["label"].tolist() == whole["label"].tolist()
    for name in ("mean", "log_var"):
        np.testing.assert_allclose(
            arrays[f"posterior_{name}"], whole[name], rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_the_first_and_the_last_image_are_the_examples_in_mode_interpolate(
    binary_run: TrainedRun, tmp_path: pathlib.Path, path: str
) -> None:
    names = make(binary_run, tmp_path, "interpolate", num=5, path=path)
    assert names == {"interpolate.png", "interpolate.gif", "interpolate.npz"}
    ends = first_examples(binary_run, "train", 2)
    arrays = load(tmp_path / "interpolate.npz")
    assert arrays["keys"].tolist() == ends["key"].tolist()
    assert arrays["z"].shape == (5, 4)
    np.testing.assert_allclose(arrays["z"][[0, -1]], ends["mean"], rtol=0, atol=1e-5)
    first, last = (end.astype(np.float64) for end in ends["mean"])
    middle = (first + last) / 2
    if path == "spherical":
        lengths = np.linalg.norm(first), np.linalg.norm(last)
        angle = np.arccos(first @ last / np.prod(lengths))
        middle = middle / np.cos(angle / 2)
    np.testing.assert_allclose(arrays["z"][2], middle, rtol=0, atol=1e-5)
    # All images have the condition of the first example.
    conditions = np.repeat(ends["conditions"][:1], 2, axis=0)
    decoded = probabilities(binary_run, ends["mean"], conditions)
    np.testing.assert_allclose(
        arrays["probability"][[0, -1]], decoded, rtol=0, atol=1e-5
    )
    pictures = cells(tmp_path / "interpolate.png", 8)
    check_levels(pictures, arrays["probability"])
    check_levels(pictures[[0, -1]], decoded)
    with Image.open(tmp_path / "interpolate.gif") as gif:
        assert gif.n_frames == 8, "to the last image and back"
        assert gif.size == (8, 8)
    assert (np.ptp(pictures.astype(int), axis=0) > 0).any()


def test_an_interpolation_needs_two_examples_in_mode_interpolate(
    face_run: TrainedRun, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(ValueError, match="needs two examples, but split 'validation'"):
        make(face_run, tmp_path, "interpolate", split="validation")


def test_a_row_replaces_one_latent_in_mode_traverse(
    binary_run: TrainedRun, tmp_path: pathlib.Path
) -> None:
    names = make(binary_run, tmp_path, "traverse", num=3, dimensions=["2", "0"])
    assert names == {"traverse.png", "traverse.gif", "traverse.npz"}
    start = first_examples(binary_run, "train", 1)
    z = np.tile(start["mean"], (6, 1))
    z[:3, 2] = z[3:, 0] = [-2, 0, 2]
    conditions = np.repeat(start["conditions"], 6, axis=0)
    expected = probabilities(binary_run, z, conditions)
    check_levels(labelled_cells(tmp_path / "traverse.png", (2, 3)), expected)
    arrays = load(tmp_path / "traverse.npz")
    assert arrays["dimensions"].tolist() == [2, 0]
    np.testing.assert_allclose(arrays["z"].reshape(6, 4), z, rtol=0, atol=1e-5)
    with Image.open(tmp_path / "traverse.gif") as gif:
        assert gif.n_frames == 4, "to the third step and back"
        assert gif.size == (16, 8)
    with pytest.raises(ValueError, match="^dimensions=a,1 must be whole numbers"):
        make(binary_run, tmp_path, "traverse", dimensions=["a", "1"])


def test_latents_of_the_largest_divergence_come_first_in_mode_traverse(
    binary_run: TrainedRun, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(binary_run, tmp_path, "traverse", num=0)
    arrays = load(tmp_path / "traverse.npz")
    whole = first_examples(binary_run, "train", 14)
    variance = np.exp(whole["log_var"])
    kl = (variance + whole["mean"] ** 2 - 1 - whole["log_var"]).mean(axis=0) / 2
    assert arrays["dimensions"].tolist() == np.argsort(-kl).tolist()
    assert arrays["z"].shape == (4, 9, 4), "nine steps by default"
    monkeypatch.setattr(latent_ranking, "_NUM_TRAVERSED", 2)
    make(binary_run, tmp_path, "traverse")
    assert load(tmp_path / "traverse.npz")["dimensions"].tolist() == [
        *arrays["dimensions"][:2]
    ]


def test_directions_are_differences_of_means_in_mode_attributes(
    face_run: TrainedRun, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["Smiling", "Bangs"]
    names = make(face_run, tmp_path, "attributes", attributes=chosen, num=3)
    assert names == {"attributes.png", "attributes.npz", "attributes.json"}
    whole = first_examples(face_run, "train", 16)
    of_dataset = face_run.manifest.features["attributes"].names
    expected = []
    for name in chosen:
        has = whole["attributes"][:, of_dataset.index(name)] == 1
        assert 0 < has.sum() < 16, name
        expected.append(whole["mean"][has].mean(0) - whole["mean"][~has].mean(0))
    arrays = load(tmp_path / "attributes.npz")
    assert arrays["names"].tolist() == chosen
    np.testing.assert_allclose(arrays["directions"], expected, rtol=0, atol=1e-5)
    rows = json.loads((tmp_path / "attributes.json").read_text())
    assert [row["attribute"] for row in rows] == chosen
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        [row["attribute"], f"{row['change']:+.2f}"] for row in rows
    ]
    explored = attribute_directions.explore(
        face_run,
        examples.find_examples(face_run, "train", 1),
        "train",
        chosen,
        limit=2.0,
        num_steps=3,
        seed=0,
    )
    assert explored.strengths.tolist() == [-2, 0, 2]
    for direction, strip in zip(expected, explored.strips, strict=True):
        z = whole["mean"][0] + np.array([[-2.0], [0], [2]]) * direction
        conditions = np.repeat(whole["conditions"][:1], 3, axis=0)
        images = face_run.vae.mean_image(z.astype(np.float32), conditions)
        np.testing.assert_allclose(strip, images, rtol=0, atol=1e-4)


def test_neighbours_are_the_nearest_of_all_training_images_in_mode_neighbours(
    face_run: TrainedRun, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = make(face_run, tmp_path, "neighbours", split="test", num=3)
    assert names == {"neighbours.png", "neighbours.npz"}
    train = first_examples(face_run, "train", 16)
    unseen = first_examples(face_run, "test", 3)
    arrays = load(tmp_path / "neighbours.npz")
    samples = face_run.vae.mean_image(arrays["z"], unseen["conditions"]).numpy()
    queries = np.concatenate([samples, unseen["image"]]).astype(np.float64)
    differences = queries[:, np.newaxis] - train["image"].astype(np.float64)
    distances = np.sqrt(np.square(differences).sum(axis=(2, 3, 4)))
    nearest = distances.argmin(axis=1)
    assert arrays["keys"].tolist() == train["key"][nearest[:3]].tolist()
    assert arrays["unseen_keys"].tolist() == unseen["key"].tolist()
    for name, part in (("distances", slice(3)), ("unseen_distances", slice(3, None))):
        np.testing.assert_allclose(
            arrays[name], distances.min(axis=1)[part], rtol=1e-5, err_msg=name
        )
    pictures = cells(tmp_path / "neighbours.png", 16)
    check_levels(pictures[:6:2], (samples + 1) / 2)
    check_levels(pictures[1:6:2], (train["image"][nearest[:3]] + 1) / 2)
    of_samples, of_unseen = np.split(distances.min(axis=1), [3])
    ratio = of_samples.mean() / of_unseen.mean()
    assert capsys.readouterr().out == f"memorisation ratio: {ratio:.3f}\n"


def test_stored_latents_are_searched_in_mode_neighbours(
    face_run: TrainedRun, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    latents = str(golden.HERE / "latents")
    names = make(face_run, tmp_path, "neighbours", split="test", num=3, latents=latents)
    assert names == {
        "neighbours-samples.png",
        "neighbours-examples.png",
        "neighbours.npz",
    }
    train = first_examples(face_run, "train", 16)
    shown = first_examples(face_run, "test", 3)
    arrays = load(tmp_path / "neighbours.npz")
    for z, keys in (
        (arrays["z"], arrays["keys"]),
        (shown["mean"], arrays["example_neighbours"]),
    ):
        distances = np.linalg.norm(z[:, np.newaxis] - train["mean"], axis=2)
        assert keys.tolist() == train["key"][distances.argmin(axis=1)].tolist()
    assert arrays["example_keys"].tolist() == shown["key"].tolist()
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines] == [
        *arrays["keys"].tolist(),
        *arrays["example_neighbours"].tolist(),
    ]


def test_points_are_posterior_means_in_mode_project(
    binary_run: TrainedRun, tmp_path: pathlib.Path
) -> None:
    assert make(binary_run, tmp_path, "project", num=1) == {"projector-train"}
    folder = tmp_path / "projector-train" / "projector"
    whole = first_examples(binary_run, "train", 14)
    points = np.loadtxt(folder / "latents.tsv", delimiter="\t")
    np.testing.assert_allclose(points, whole["mean"], rtol=1e-4, atol=1e-5)
    header, *lines = (folder / "metadata.tsv").read_text().splitlines()
    assert header == "key\tlabel"
    classes_of_folder = binary_run.manifest.features["label"].names
    assert lines == [
        f"{key}\t{classes_of_folder[label]}"
        for key, label in zip(whole["key"], whole["label"], strict=True)
    ]
    sprite = cells(folder / "sprite.png", 8)
    check_levels(sprite[:14], (whole["image"] + 1) / 2)
    assert len(sprite) == 16
