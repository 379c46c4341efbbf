import pytest

from pipeline import contract
from pipeline.planning.dataset_settings import Settings, parse_folders, parse_fractions


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size": 0}, "^image_size=0 must be from 1 to 4096"),
        ({"shard_size": 0}, "^shard_size=0 must be from 1"),
        ({"seed": -1}, "^seed=-1 must be from 0"),
        ({"crop_size": -1}, "^crop_size=-1 must be from 0"),
        ({"image_dtype": "int8"}, "^image_dtype=int8 must be one of float16, float32"),
        ({"resize": "cubic"}, "^resize=cubic must be one of bilinear, bicubic"),
        *(
            (
                {"source": "folder", "split_fractions": fractions},
                f"^split_fractions={text} must be fractions for train, validation, te",
            )
            for fractions, text in (
                ((0.8, 0.1), "0.8,0.1"),
                ((0.8, 0.1, 0.1, 0.0), "0.8,0.1,0.1,0"),
                ((0.8, 0.1, 0.2), "0.8,0.1,0.2"),
                ((1.2, -0.1, -0.1), "1.2,-0.1,-0.1"),
                ((0.7, 0.5, -0.2), "0.7,0.5,-0.2"),
                ((float("nan"), 0.5, 0.5), "nan,0.5,0.5"),
                ((), ""),
            )
        ),
        (
            {"split_fractions": (0.8, 0.1, 0.1)},
            "^`split_fractions` does not apply to source=celeba, only to folder, "
            "tfds: leave",
        ),
        (
            {"source": "mnist", "deduplicate": True},
            "^`deduplicate` does not apply to source=mnist, only to folder: leave it "
            "out",
        ),
        (
            {"source": "folder", "validation_images": 0},
            "`validation_images` does not apply to source=folder, only to mnist: "
            "leave it out",
        ),
        (
            {"source": "mnist", "validation_images": -1},
            "validation_images=-1 must be from 0 to 1000000",
        ),
        (
            {"source": "mnist", "split_fractions": (0.8, 0.1, 0.1)},
            "`split_fractions` does not apply to source=mnist, only to folder, tfds",
        ),
        (
            {"source": "x", "deduplicate": True},
            "^source=x must be one of celeba, mnist, folder",
        ),
    ],
)
def test_settings_name_the_flag_and_what_is_allowed(values, message):
    with pytest.raises(contract.DatasetError, match=message):
        Settings(**values)


def test_settings_that_are_not_made_are_not_in_the_manifest():
    # Settings in the manifest decide the digest. Another entry would change the digests
    # of existing datasets.
    assert Settings(source="mnist", image_size=28).to_dict() == {
        "source": "mnist",
        "image_size": 28,
        "image_dtype": "float16",
        "shard_size": 1024,
        "seed": 0,
        "resize": "bilinear",
        "crop_size": 0,
    }
    values = Settings(
        source="folder",
        split_fractions=(0.5, 0.5, 0.0),
        deduplicate=True,
        preprocess="a.b:c",
    ).to_dict()
    assert values["split_fractions"] == [0.5, 0.5, 0.0]
    assert values["deduplicate"] is True
    assert values["preprocess"] == "a.b:c"


def test_fractions_are_parsed():
    assert parse_fractions(None) is None
    assert parse_fractions("0.8, .1,1e-1") == (0.8, 0.1, 0.1)
    for text in ("", "0.8,0.1,x", "0.8;0.1;0.1"):
        match = f"^split_fractions={text} must be fractions for train, validation, test"
        with pytest.raises(contract.DatasetError, match=match):
            parse_fractions(text)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("image_size", 1, 4096),
        ("shard_size", 1, 1_000_000),
        ("seed", 0, 9_223_372_036_854_775_807),
        ("crop_size", 0, 65_535),
        ("validation_images", 0, 1_000_000),
    ],
)
def test_a_number_has_a_least_and_a_largest_value(
    name: str, low: int, high: int
) -> None:
    others = {"source": "mnist"} if name == "validation_images" else {}
    for value in (low, high):
        assert getattr(Settings(**others, **{name: value}), name) == value
    for value in (low - 1, high + 1, True, low + 0.5):
        with pytest.raises(
            contract.DatasetError, match=f"^{name}={value} must be from {low} to {high}"
        ):
            Settings(**others, **{name: value})


def test_fractions_may_miss_one_by_a_millionth() -> None:
    for fractions in ((0.8, 0.1, 0.1 + 9e-7), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)):
        settings = Settings(source="folder", split_fractions=fractions)
        assert settings.split_fractions == fractions
    for last in (0.1 + 2e-6, 0.1 - 2e-6):
        with pytest.raises(contract.DatasetError, match="with the sum 1"):
            Settings(source="folder", split_fractions=(0.8, 0.1, last))


def test_folders_are_parsed():
    assert parse_folders(None) is None
    assert parse_folders("train=Train, big,test=test1,a") == (
        "test=test1,a",
        "train=Train, big",
    )
