"""Features besides arrays are parsed once, and parsed again after a change."""

import pathlib

import numpy as np
import pytest

from pipeline import contract
from pipeline.formats import records
from trainer.data import small_features
from trainer.data.record_reader import RecordReader
from trainer.data.shard_files import DamageError
from trainer.data.small_features import SmallFeatures

FEATURES = {
    "key": contract.Feature("string"),
    "image": contract.Feature("uint8", (2, 2, 1)),
    "label": contract.Feature("int64"),
    "landmarks": contract.Feature("int64", (2,)),
}


def write(path: pathlib.Path, labels: list[int], key: str = "key") -> None:
    """Replaces a shard by a new one with these labels."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(
        b"".join(
            part
            for number, label in enumerate(labels)
            for part in records.frame(
                b"".join(
                    records.encode_record(
                        f"{key}-{number}",
                        {"image": np.zeros((2, 2, 1), np.uint8)},
                        {"label": [label], "landmarks": [label, -1]},
                    )
                )
            )
        )
    )
    temporary.rename(path)


def reader_of(path: pathlib.Path, num: int) -> RecordReader:
    info = contract.ShardInfo(path.name, num, path.stat().st_size, "")
    return RecordReader([str(path)], [info], FEATURES)


@pytest.fixture
def shard(tmp_path: pathlib.Path) -> pathlib.Path:
    write(tmp_path / "shard", [3, 1, 4, 1, 5])
    return tmp_path / "shard"


@pytest.mark.parametrize("is_compiled", [True, False])
def test_records_are_parsed_once_and_again_if_they_changed(
    shard: pathlib.Path, monkeypatch: pytest.MonkeyPatch, is_compiled: bool
) -> None:
    parsed, parse = [], small_features.parse
    monkeypatch.setattr(
        small_features,
        "parse",
        lambda records, features: (
            parsed.append(len(records.crcs)) or parse(records, features)
        ),
    )
    reader = reader_of(shard, 5)
    if is_compiled:
        reader.compile()
    small = SmallFeatures({name: FEATURES[name] for name in ("label", "landmarks")}, 5)

    def features(*numbers: int) -> dict[str, np.ndarray]:
        places = np.array([(0, number) for number in numbers])
        return small.of(reader.read(places), np.array(numbers))

    first = features(0, 4)
    assert parsed == [2]
    assert first["label"].tolist() == [3, 5]
    assert first["landmarks"].tolist() == [[3, -1], [5, -1]]
    again = features(4, 0, 4)
    assert parsed == [2]
    assert again["label"].tolist() == [5, 3, 5]
    assert (again["record_id"] == first["record_id"][[1, 0, 1]]).all()
    assert features(0, 1, 2)["label"].tolist() == [3, 1, 4]
    assert parsed == [2, 3]
    write(shard, [2, 7, 1, 8, 2], key="kez")
    changed = features(0, 1, 4)
    assert changed["label"].tolist() == [2, 7, 2]
    assert changed["landmarks"].tolist() == [[2, -1], [7, -1], [2, -1]]
    assert not set(changed["record_id"]) & set(first["record_id"])
    assert parsed == [2, 3, 3]


def test_a_record_that_lacks_a_feature_is_named(shard: pathlib.Path) -> None:
    actual = reader_of(shard, 5).read(np.array([(0, 1), (0, 2)]))
    expected = {"key": FEATURES["key"], "size": contract.Feature("int64")}
    with pytest.raises(
        DamageError, match=r"record 1 of .*: Feature: size .*not be fou"
    ):
        small_features.parse(actual, expected)


@pytest.mark.parametrize("garbage", [b"\xff\xff", b"no Example"])
def test_a_record_that_cannot_be_parsed_is_named(
    shard: pathlib.Path, monkeypatch: pytest.MonkeyPatch, garbage: bytes
) -> None:
    actual = reader_of(shard, 5).read(np.array([(0, 3), (0, 2)]))
    rests = [actual.rests()[0], garbage]
    monkeypatch.setattr(type(actual), "rests", lambda _: rests)
    with pytest.raises(DamageError, match=r"record 2 of shard .* cannot be parsed"):
        small_features.parse(actual, {"key": FEATURES["key"]})
