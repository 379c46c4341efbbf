"""Any manifest, shard, sidecar, plan or image is read, or ends in its own error."""

import dataclasses
import io
import json
import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline import contract
from pipeline.dataset import examples, output_directory, output_files, shards, stats
from pipeline.formats import records
from pipeline.images import rgb, squares
from pipeline.planning import plan, plan_files
from pipeline.planning.dataset_settings import Settings
from pipeline.sources.image_table import ImageTable
from pipeline.storage import files
from tests.fuzzing import (
    JSON_TEXTS,
    changed,
    changed_json,
    check_manifest,
    reads_or_refuses,
    refuses,
)
from trainer.data import splits

NAME = "d-train.tfrecord-00000-of-00001"
FEATURES = {
    "key": contract.Feature("string"),
    "image": contract.Feature("uint8", (2, 2, 3)),
    "attributes": contract.Feature("int64", (2,), ("Bald", "Male")),
    "label": contract.Feature("int64"),
}
SHARD = b"".join(
    part
    for number in range(3)
    for part in records.frame(
        *records.encode_record(
            f"{number}.jpg",
            {"image": np.full([2, 2, 3], number, np.uint8)},
            {"attributes": [0, 1], "label": [number]},
        )
    )
)
MANIFEST = json.loads(
    contract.Manifest(
        name="d",
        settings={"image_size": 2},
        source_fingerprint="cd" * 32,
        features=FEATURES,
        splits={
            "train": contract.SplitInfo(
                (contract.ShardInfo(NAME, 3, len(SHARD), "ab" * 32),), {"missing": 1}
            )
        },
        versions={"python": "3.11"},
    ).to_json()
)
PLANNED = plan.PlannedShard(NAME, "train", 0, 4, "cd" * 32)
COUNTS = stats.Stats(3)
COUNTS.add(np.zeros([2, 2, 3], np.uint8), {"attributes": [0, 1], "label": [1]})
RESULT = shards.ShardResult(
    split="train",
    index=0,
    info=contract.ShardInfo(NAME, 3, len(SHARD), "ab" * 32),
    rejects=(examples.Reject("3.jpg", "missing", "not there"),),
    plan_fingerprint="cd" * 32,
    run_id="first",
    stats=COUNTS.to_dict(),
)
SIDECAR = json.loads(json.dumps(dataclasses.asdict(RESULT)))


PLAN = plan.ShardPlan(
    PLANNED,
    ImageTable(
        keys=[f"{number}.jpg" for number in range(4)],
        locations=np.arange(20).reshape(4, 5),
        features={"label": np.arange(4)},
    ),
)
SETTINGS = {
    "schema_version": contract.SCHEMA_VERSION,
    "settings": Settings().to_dict(),
    "source_fingerprint": "ab",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("fuzz")
    (path / files.PROGRESS_DIR).mkdir()
    return path


@given(text=JSON_TEXTS)
def test_any_text_for_a_manifest(text):
    refuses(contract.DatasetError, call=lambda: contract.parse_manifest(text))


def test_a_manifest_as_deep_as_can_just_be_read():
    # At some of these depths, JSON can be parsed but not written again for its hash.
    for depth in range(100, 1100):
        deep = "[" * depth + "]" * depth
        text = json.dumps(MANIFEST).replace('"image_size": 2', f'"image_size": {deep}')
        call = lambda text=text: contract.parse_manifest(text)  # noqa: E731
        refuses(contract.DatasetError, call=call)


@given(body=changed_json(MANIFEST))
def test_a_changed_manifest_whose_digest_is_right(body, folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contract, "_digest", lambda _: MANIFEST["digest"])

        def use():
            manifest = contract.parse_manifest(json.dumps(body))
            for split, info in manifest.splits.items():
                for shard in info.shards:
                    assert (folder / shard.name).parent == folder
                splits.check_shard_sizes(manifest, folder, split)
            return manifest

        reads_or_refuses(
            contract.DatasetError,
            call=use,
            check=lambda manifest: check_manifest(manifest, body),
        )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("features", "image", "shape"), [2, 2, -3]),
        (("features", "image", "shape"), [65_536, 65_536, 1]),
        (("features", "image", "dtype"), "int64"),
        (("features", "key", "dtype"), "int64"),
        (("features", "key", "shape"), [1]),
        (("features", "label", "dtype"), "object"),
        (("features", "label", "shape"), [0]),
        (("features",), {"image": MANIFEST["features"]["image"]}),
        (("splits", "train", "shards", 0, "num_examples"), -1),
        (("splits", "train", "shards", 0, "num_bytes"), 2**63),
        (("splits", "train", "shards", 0, "name"), "/etc/passwd"),
        (("splits", "train", "shards", 0, "name"), f"../{NAME}"),
        (("splits", "train", "shards", 0, "name"), f"{NAME}\0"),
        (("splits", "train", "shards", 0, "name"), NAME.replace("of", "of-")),
        (("splits",), {"../train": MANIFEST["splits"]["train"]}),
        (("name",), "../d"),
    ],
)
def test_what_no_manifest_says_is_refused(monkeypatch, path, value):
    body = json.loads(json.dumps(MANIFEST))
    *parents, last = path
    target = body
    for part in parents:
        target = target[part]
    target[last] = value
    monkeypatch.setattr(contract, "_digest", lambda _: MANIFEST["digest"])
    with pytest.raises(contract.DatasetError, match=r"is damaged \(.*Error"):
        contract.parse_manifest(json.dumps(body))


@given(data=st.binary(max_size=100) | changed(SHARD))
def test_any_bytes_for_a_shard(data, folder):
    path = folder / "shard"
    path.write_bytes(data)

    def check(frames):
        assert b"".join(frames) == data

    for read in (records.read_frames, records.read_unchecked_frames):
        reads_or_refuses(
            contract.DatasetError, call=lambda read=read: list(read(path)), check=check
        )


@given(
    entries=st.lists(
        st.binary(max_size=60) | changed(records.unframed(SHARD[: len(SHARD) // 3])),
        max_size=3,
    )
)
def test_any_records_in_a_sound_frame(entries, folder):
    path = folder / "framed"
    path.write_bytes(b"".join(p for entry in entries for p in records.frame(entry)))

    def check_counts(counts):
        assert counts.num_examples == len(entries)
        # Each image has 2 x 2 pixels, of three colours.
        assert counts.levels.sum(axis=1).tolist() == 3 * [4 * len(entries)]
        assert sum(counts.values.get("label", {}).values()) == len(entries)

    def check_picture(data):
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.mode == "RGB"

    reads_or_refuses(
        contract.DatasetError,
        call=lambda: stats.of_shard(str(path), FEATURES),
        check=check_counts,
    )
    if entries:
        reads_or_refuses(
            contract.DatasetError,
            call=lambda: stats.overview_png([str(path)], FEATURES),
            check=check_picture,
        )


@given(text=JSON_TEXTS | changed_json(SIDECAR).map(json.dumps))
def test_any_sidecar_is_kept_or_not(text, folder):
    (folder / NAME).write_bytes(SHARD)
    path = pathlib.Path(shards.sidecar_path(str(folder), NAME))
    path.write_bytes(text.encode(errors="surrogatepass"))
    finished = shards.find_finished(PLANNED, str(folder))
    if finished is None:
        return
    assert finished.info.name == NAME
    assert finished.info.num_examples + len(finished.rejects) == PLANNED.num_images
    if stats.are_sound(finished.stats, FEATURES):
        counts = {"train": stats.Stats.from_dict(finished.stats)}
        with np.errstate(all="ignore"):
            stats.stats_json(counts, FEATURES)


def test_a_sound_sidecar_is_kept(folder):
    (folder / NAME).write_bytes(SHARD)
    path = pathlib.Path(shards.sidecar_path(str(folder), NAME))
    path.write_text(json.dumps(SIDECAR))
    finished = shards.find_finished(PLANNED, str(folder))
    assert finished == dataclasses.replace(RESULT, stats=SIDECAR["stats"])
    assert stats.are_sound(finished.stats, FEATURES)
    for other in (
        {"info": {**SIDECAR["info"], "name": f"../{NAME}"}},
        {"info": {**SIDECAR["info"], "num_examples": 2}},
        {"rejects": [{"key": 1, "reason": "missing", "detail": ""}]},
        {"rejects": [{"key": "a", "reason": "unheard-of", "detail": ""}]},
    ):
        path.write_text(json.dumps({**SIDECAR, **other}))
        assert shards.find_finished(PLANNED, str(folder)) is None, other
    path.write_text("[" * 100_000)
    assert shards.find_finished(PLANNED, str(folder)) is None


@given(text=JSON_TEXTS | changed_json(SETTINGS).map(json.dumps))
def test_any_settings_of_an_output_directory(text, folder):
    path = folder / files.PROGRESS_DIR / output_files.SETTINGS_NAME
    path.write_bytes(text.encode(errors="surrogatepass"))

    def hold():
        with output_directory.locked(
            str(folder), Settings(), "ab", run_id="one", overwrite=False
        ):
            pass

    def check(_):
        recorded = json.loads(text)
        assert {name: recorded[name] for name in SETTINGS} == SETTINGS

    reads_or_refuses(contract.DatasetError, call=hold, check=check)


@pytest.fixture(scope="module")
def plan_bytes(folder: pathlib.Path) -> bytes:
    plan_files.save_plan(PLAN, str(folder), "run")
    return pathlib.Path(plan_files.plan_path(str(folder), NAME, "run")).read_bytes()


@given(data=st.data())
def test_any_plan(data, folder, plan_bytes):
    path = pathlib.Path(plan_files.plan_path(str(folder), NAME, "run"))
    path.write_bytes(data.draw(st.binary(max_size=100) | changed(plan_bytes)))

    def check(loaded):
        assert loaded.shard.name == NAME
        assert len(loaded.images) == len(loaded.images.locations)

    reads_or_refuses(
        contract.DatasetError,
        call=lambda: plan_files.load_plan(str(folder), NAME, "run"),
        check=check,
    )


@given(header=changed_json([dataclasses.asdict(PLANNED), list(PLAN.images.keys)]))
def test_any_header_of_a_plan(header, folder):
    path = plan_files.plan_path(str(folder), NAME, "header")
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, header=text, locations=PLAN.images.locations)

    def check(loaded):
        assert loaded.shard.name == NAME
        assert list(loaded.images.keys) == header[1]
        np.testing.assert_array_equal(loaded.images.locations, PLAN.images.locations)

    reads_or_refuses(
        contract.DatasetError,
        call=lambda: plan_files.load_plan(str(folder), NAME, "header"),
        check=check,
    )


def _encoded(image_format: str, mode: str) -> bytes:
    pixels = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    image = Image.fromarray(pixels).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(file := io.BytesIO(), image_format, exif=exif.tobytes())
    return file.getvalue()


ENCODED = [
    _encoded(*kind)
    for kind in (
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("PNG", "RGBA"),
        ("PNG", "I;16"),
        ("PNG", "P"),
        ("WEBP", "RGBA"),
        ("BMP", "RGB"),
        ("GIF", "P"),
        ("TIFF", "RGB"),
        ("PPM", "RGB"),
    )
]


@given(data=st.binary(max_size=100) | st.sampled_from(ENCODED).flatmap(changed))
def test_any_bytes_for_an_image(data):
    def check(pixels):
        assert pixels.dtype == np.uint8
        with Image.open(io.BytesIO(data)) as image:
            sides = image.size
        # Any of the eight orientations may turn an image.
        assert sorted(pixels.shape) == sorted([*sides, 3])

    for decode in (squares.decode, rgb.decode_as_rgb):
        reads_or_refuses(
            squares.RejectedImageError,
            call=lambda decode=decode: decode(data),
            check=check,
        )
