import io
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from pipeline import contract
from pipeline.dataset import stats
from pipeline.formats import records

RNG = np.random.default_rng(0)
LEVELS = RNG.integers(0, 256, (20, 6, 6, 3), np.uint8)
ATTRIBUTES = RNG.integers(0, 2, (20, 2))
DIGITS = RNG.integers(0, 3, 20)
FEATURES = {
    "key": contract.Feature("string"),
    "image": contract.Feature("float16", (6, 6, 3)),
    "attributes": contract.Feature("int64", (2,), ("Smiling", "Young")),
    "label": contract.Feature("int64"),
}


def stored(index: int, dtype: str = "float16") -> np.ndarray:
    if dtype == "uint8":
        return LEVELS[index]
    return (LEVELS[index] / 127.5 - 1).astype(dtype)


def labels(index: int) -> dict[str, list[int]]:
    return {"attributes": ATTRIBUTES[index].tolist(), "label": [int(DIGITS[index])]}


def counted(*indices: int, dtype: str = "float16") -> stats.Stats:
    total = stats.Stats(3)
    for index in indices:
        total.add(stored(index, dtype), labels(index))
    return total


@pytest.mark.parametrize("dtype", contract.IMAGE_DTYPES)
def test_the_summary_is_that_of_the_pixels(dtype: str) -> None:
    text = stats.stats_json({"train": counted(*range(20), dtype=dtype)}, FEATURES)
    train = json.loads(text)["train"]
    scaled = LEVELS / 127.5 - 1
    assert train["num_examples"] == 20
    np.testing.assert_allclose(train["mean"], scaled.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(train["stddev"], scaled.std(axis=(0, 1, 2)))
    grey = np.stack([np.asarray(Image.fromarray(x).convert("L")) for x in LEVELS])
    counts = np.bincount(grey.ravel() // 8, minlength=32)
    # Pillow rounds its grey weights to 16 bits, so a few pixels may change their bin.
    assert np.abs(np.cumsum(train["brightness"]) - np.cumsum(counts)).max() <= 2
    means = ATTRIBUTES.mean(axis=0)
    assert train["attributes"] == {"Smiling": means[0], "Young": means[1]}
    assert train["label"] == {
        str(digit): int((digit == DIGITS).sum()) for digit in range(3)
    }


def test_any_order_of_shards_gives_the_same_text() -> None:
    texts = set()
    for parts in ([range(7), range(7, 20)], [range(12, 20), range(12)], [range(20)]):
        merged = stats.Stats(3)
        for part in parts:
            in_json = json.dumps(counted(*part).to_dict())
            merged.merge(stats.Stats.from_dict(json.loads(in_json)))
        texts.add(stats.stats_json({"train": merged}, FEATURES))
    assert len(texts) == 1


def test_grey_images_are_counted_by_their_own_level() -> None:
    total = stats.Stats(1)
    total.add(np.array([0, 0, 9, 255], np.uint8).reshape(2, 2, 1), {"label": [7]})
    assert total.brightness.nonzero()[0].tolist() == [0, 9, 255]
    assert total.brightness.sum() == 4


def write_shard(path: pathlib.Path, indices: range) -> pathlib.Path:
    encoded = [
        records.encode_record(f"{index}.jpg", {"image": stored(index)}, labels(index))
        for index in indices
    ]
    path.write_bytes(
        b"".join(part for text in encoded for part in records.frame(*text))
    )
    return path


def test_a_finished_shard_is_counted_as_it_would_have_been(tmp_path) -> None:
    path = write_shard(tmp_path / "a", range(5))
    assert stats.of_shard(path, FEATURES).to_dict() == counted(*range(5)).to_dict()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(contract.DatasetError, match="record 4 is cut off"):
        stats.of_shard(path, FEATURES)


def test_the_overview_shows_sixteen_images(tmp_path) -> None:
    shards = [
        write_shard(tmp_path / "a", range(9)),
        write_shard(tmp_path / "b", range(9, 20)),
    ]
    sheet = np.asarray(Image.open(io.BytesIO(stats.overview_png(shards, FEATURES))))
    assert sheet.shape == (24, 24, 3)
    tiles = sheet.reshape(4, 6, 4, 6, 3).swapaxes(1, 2).reshape(16, 6, 6, 3)
    np.testing.assert_array_equal(tiles, LEVELS[:16])
    few = stats.overview_png(shards[:1], FEATURES)
    assert Image.open(io.BytesIO(few)).size == (24, 18)
