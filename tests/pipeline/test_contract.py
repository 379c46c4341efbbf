import dataclasses
import json
import math
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import contract
from tests.fuzzing import reads_or_refuses


def make_manifest() -> contract.Manifest:
    shard = contract.ShardInfo("d-train.tfrecord-00000-of-00001", 2, 100, "ab" * 32)
    return contract.Manifest(
        name="d",
        settings={"image_size": 4, "resize": "bilinear"},
        source_fingerprint="cd" * 32,
        features={
            "key": contract.Feature("string"),
            "image": contract.Feature("float16", (4, 4, 3)),
            "attributes": contract.Feature("int64", (2,), ("Bald", "Male")),
        },
        splits={"train": contract.SplitInfo((shard,), {"missing": 1})},
        versions={"python": "3.11"},
    )


# Another digest means another format, and needs a new schema version.
GOLDEN_DIGEST = "321a3dfe87851c56ed9dc84d368d1ff36162d6effdd56f351bc184785b715230"


def test_digest_is_golden():
    assert make_manifest().digest == GOLDEN_DIGEST


def test_round_trip():
    manifest = make_manifest()
    parsed = contract.parse_manifest(manifest.to_json())
    assert parsed == manifest
    assert parsed.image_shape == (4, 4, 3)
    assert parsed.image_dtype == "float16"
    assert parsed.splits["train"].num_examples == 2
    assert parsed.splits["train"].num_bytes == 100


def test_versions_are_not_in_the_digest():
    manifest = make_manifest()
    other = dataclasses.replace(manifest, versions={"python": "3.12"})
    assert other.digest == manifest.digest


def leaves_of(value, path=()):
    """Yields the path of every innermost value in a JSON body."""
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, inner in items:
        yield from leaves_of(inner, (*path, key))
    if not isinstance(value, dict | list) or not value:
        yield path


def changed(body, path, value):
    body = json.loads(json.dumps(body))
    target = body
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    return body


BODY = json.loads(make_manifest().to_json())
LEAVES = [path for path in leaves_of(BODY) if path[0] != "versions"]


@pytest.mark.parametrize("path", LEAVES, ids=lambda path: "/".join(map(str, path)))
def test_every_changed_value_is_refused(path):
    sound = BODY
    for part in path:
        sound = sound[part]
    values = [-1, 0, 3, 10**30, 1e30, 1.5, True, False, "", "x", None, [], {}]
    values += [math.nan, math.inf]
    if isinstance(sound, int | float):
        # Python takes some of these for equal values; other readers do not.
        values += [sound + 1, float(sound), str(sound), -sound or -0.0, bool(sound)]
        values += [int(sound)]
    if isinstance(sound, str):
        values += [f"{sound} ", sound[:-1], [sound]]
    for value in values:
        if json.dumps(value) == json.dumps(sound):
            continue
        text = json.dumps(changed(BODY, path, value))
        with pytest.raises(contract.DatasetError, match=r"^/data/manifest.json ") as e:
            contract.parse_manifest(text, "/data/manifest.json")
        assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize("parent", [(), ("image",), ("splits", "train"), ("features",)])
def test_a_field_more_is_refused(parent):
    with pytest.raises(contract.DatasetError, match="damaged|its own digest"):
        contract.parse_manifest(json.dumps(changed(BODY, (*parent, "more"), 1)))


@pytest.mark.parametrize("name", ["scale", "num_bytes", "digest", "python"])
def test_a_field_twice_is_refused(name):
    text = json.dumps(BODY).replace(f'"{name}": ', f'"{name}": 0, "{name}": ', 1)
    with pytest.raises(contract.DatasetError, match=f"'{name}' occurs twice"):
        contract.parse_manifest(text)


@pytest.mark.parametrize("num_examples", [-1, 7, 10**18, 10**30])
def test_a_shard_holds_its_records(num_examples):
    # The count is checked even if the manifest has a new digest: 100 bytes hold at most
    # six empty records.
    body = {**dataclasses.asdict(make_manifest().splits["train"].shards[0])}
    with pytest.raises(
        ValueError, match=f"{num_examples} examples cannot have 100 bytes"
    ):
        contract.parse_shard_info({**body, "num_examples": num_examples})


def test_counts_must_add_up():
    body = json.loads(make_manifest().to_json())
    body["splits"]["train"]["num_examples"] = 3
    with pytest.raises(contract.DatasetError, match="says 3 examples .* add up to 2"):
        contract.parse_manifest(json.dumps(body))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", "{}", "[" * 100_000])
def test_no_manifest_at_all(text):
    with pytest.raises(contract.DatasetError, match="not JSON|schema version"):
        contract.parse_manifest(text)


def test_another_schema_version_is_refused():
    body = json.loads(make_manifest().to_json())
    body["schema_version"] = 2
    with pytest.raises(
        contract.DatasetError, match="version 2, but this .* reads only version 1"
    ):
        contract.parse_manifest(json.dumps(body))


def test_a_shard_name_cannot_leave_the_directory():
    body = json.loads(make_manifest().to_json())
    body["splits"]["train"]["shards"][0]["name"] = "../secret"
    with pytest.raises(contract.DatasetError, match="damaged"):
        contract.parse_manifest(json.dumps(body))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "shards", "dtype", "x"]), inner)
    ),
    max_leaves=6,
)


def paths_of(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, inner in items:
        yield from paths_of(inner, (*path, key))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([path for path in paths_of(BODY) if path]), JUNK, st.booleans())
def test_malformed_manifests_raise_only_dataset_errors(path, junk, should_delete):
    body = json.loads(json.dumps(BODY))
    target = body
    for part in path[:-1]:
        target = target[part]
    if should_delete:
        del target[path[-1]]
    else:
        target[path[-1]] = junk
    reads_or_refuses(
        contract.DatasetError,
        call=lambda: contract.parse_manifest(json.dumps(body)),
        check=lambda manifest: check_round_trip(manifest, body),
    )


def check_round_trip(manifest: contract.Manifest, body: dict) -> None:
    assert json.loads(manifest.to_json()) == body


def test_load_manifest_says_what_is_missing(tmp_path: pathlib.Path):
    with pytest.raises(contract.DatasetError, match="does not exist"):
        contract.load_manifest(tmp_path / "absent")
    with pytest.raises(contract.DatasetError, match="is not finished"):
        contract.load_manifest(tmp_path)
    (tmp_path / contract.MANIFEST_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(contract.DatasetError, match="is not UTF-8 text: prep"):
        contract.load_manifest(tmp_path)


def test_shard_name():
    name = contract.shard_name("celeba", "train", 3, 64)
    assert name == "celeba-train.tfrecord-00003-of-00064"
    with pytest.raises(contract.DatasetError, match="must begin with a letter"):
        contract.shard_name("celeb-a", "train", 0, 1)
    with pytest.raises(contract.DatasetError, match="shard 1 must be from 0 to 0"):
        contract.shard_name("celeba", "train", 1, 1)


def test_a_feature_has_as_many_names_as_elements():
    with pytest.raises(contract.DatasetError, match=r"shape \[3\] cannot have 2 names"):
        contract.Feature("int64", (3,), ("a", "b"))


def test_the_values_of_a_scalar_may_have_names():
    label = contract.Feature("int64", (), ("cat", "dog"))
    manifest = make_manifest()
    features = {**manifest.features, "label": label}
    manifest = dataclasses.replace(manifest, features=features)
    assert contract.parse_manifest(manifest.to_json()) == manifest
    assert json.loads(manifest.to_json())["features"]["label"] == {
        "dtype": "int64",
        "shape": [],
        "names": ["cat", "dog"],
    }


def test_an_error_is_one_line_whatever_it_quotes():
    assert str(contract.DatasetError("no split 'a\r\nb'")) == "no split 'a b'"


@pytest.mark.parametrize(
    "text",
    [
        "no s3://bucket/me@home.jpg",
        "no http://127.0.0.1:9000/bucket/me@home.jpg",
        "no access for robot@project.iam",
    ],
)
def test_what_is_no_password_is_shown(text: str) -> None:
    assert str(contract.DatasetError(text)) == text


@pytest.mark.parametrize(
    "url",
    ["http://me:a@host/b", "https://me:a@b@host", "s3://token@host/b", "x://:a@h"],
)
def test_no_password_of_a_url_is_shown(url: str) -> None:
    scheme, _, rest = url.partition("://")
    expected = f"{scheme}://***@{rest.rpartition('@')[2]}, and more"
    assert str(contract.DatasetError(f"{url}, and more")) == expected
