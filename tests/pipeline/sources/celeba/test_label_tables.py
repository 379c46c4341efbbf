import pytest

from pipeline import contract
from pipeline.sources.celeba import label_tables
from pipeline.sources.celeba.attributes import ATTRIBUTE_NAMES, LANDMARK_NAMES

KEYS = [f"{number:06d}.jpg" for number in range(1, label_tables.OFFICIAL_IMAGES + 1)]
# Number of images with the first attribute.
NUM_FIRST = 22_516


def test_the_text_of_celebas_attributes_has_the_official_size():
    others = ",-1" * 39
    rows = [
        f"{key},{1 if at < NUM_FIRST else -1}{others}" for at, key in enumerate(KEYS)
    ]
    header = ",".join(["image_id", *ATTRIBUTE_NAMES])
    table = "\n".join([header, *rows])
    text = label_tables.labels_text("x.csv", table, is_binary=True)
    assert len(text) == 26_721_026
    assert text.startswith("202599\r\n5_o_Clock_Shadow Arched_Eyebrows ")
    assert text.endswith(f"\r\n202599.jpg -1{' -1' * 39}\r\n")
    assert f"\r\n000001.jpg 1{' -1' * 39}\r\n" in text


def test_the_text_of_celebas_landmarks_has_the_official_size():
    values = "69,109,106,113,77,142,73,152,108,154"
    header = ",".join(["image_id", *LANDMARK_NAMES])
    table = "\n".join([header, *(f"{key},{values}" for key in KEYS)])
    text = label_tables.labels_text("x.csv", table, is_binary=False)
    assert len(text) == 12_156_055
    line = "000001.jpg 69  109  106  113   77  142   73  152  108  154"
    assert text.splitlines()[2] == line


def test_the_text_of_celebas_partition_has_the_official_size():
    table = "\n".join(["image_id,partition", *(f"{key},0" for key in KEYS)])
    assert len(label_tables.partition_text("x.csv", table)) == 2_836_386


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("image_id,partition\na.jpg,3\n", "x.csv line 2 has '3' for a.jpg: expected 0"),
        ("image_id,partition\na.jpg,0,1\n", "line 2 has 3 columns, but the first line"),
        ("image_id,partition\na.jpg\n", "line 2 has 1 columns"),
        ("image_id,a,b\na.jpg,0,1\n", "has the columns 'image_id, a, b': expected ima"),
        ("x,y\n1,2\n", "begins with 'x,y', and has no column of file names such as"),
        ("a.jpg,\0\n", "has '.x00' for a.jpg"),
        (",\n", "and has no column of file names"),
    ],
)
def test_malformed_partitions(text, match):
    with pytest.raises(contract.DatasetError, match=match):
        label_tables.partition_text("x.csv", text)


@pytest.mark.parametrize(
    ("text", "is_binary", "match"),
    [
        ("image_id,A\na.jpg,2\n", True, "line 2 has '2', which is not -1 or 1"),
        ("image_id,A\na.jpg,\n", True, "line 2 has '', which is not -1 or 1"),
        ("image_id,A,B\na.jpg,-1,0\n", True, "has -1 and 0 .or False.: expected -1"),
        ("image_id,\na.jpg,\n", True, "has no header line with image_id and the na"),
        ("a.jpg,1\nb.jpg,1\n", True, "has no header line with image_id and the na"),
        ("image_id,A\na.jpg,1.5\n", False, "has '1.5', which is not a whole number"),
        ("image_id,A\na.jpg,99999\n", False, "has '99999', which is not a whole"),
        ("image_id,A\n\na.jpg,1,2\n", False, "line 3 has 3 columns, but the first"),
    ],
)
def test_malformed_labels(text, is_binary, match):
    with pytest.raises(contract.DatasetError, match=match):
        label_tables.labels_text("x.csv", text, is_binary=is_binary)
