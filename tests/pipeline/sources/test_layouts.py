import pytest

from pipeline import contract
from pipeline.planning import dataset_settings
from pipeline.sources import layout_detection, layouts


def folders_of(*names: str) -> layouts.Folders:
    """Returns folders with sub-folders cat and dog in each; `*.jpg` is an image."""
    folders = layouts.Folders()
    for name in names:
        for key in (name,) if name.endswith(".jpg") else (f"{name}/cat", f"{name}/dog"):
            folders.add(key if key.endswith(".jpg") else f"{key}/1.jpg")
    return folders


def find(*names: str) -> dict[str, str]:
    layout = layout_detection.detect(folders_of(*names), "photos")
    return {"/".join(path): split for path, split in layout.split_of.items()}


TRAIN = ("train", "Train", "TRAIN", "training", "train2017", "train_images", "trainset")
TRAIN += (
    "Training Data",
    "TrainImages",
    "train-256",
    "TRAIN_SET",
    "img_train",
    "train 1",
)
VALIDATION = ("val", "valid", "validation", "Val", "val2017", "dev", "eval", "valset")
VALIDATION += ("validation_set", "valid_images", "Development", "evaluation-256x256")
TEST = ("test", "Test", "testing", "test1", "test2017", "test_set", "TestImages")
TEST += ("holdout", "hold-out", "held_out", "testset", "Test Data")


@pytest.mark.parametrize("name", TRAIN)
def test_usual_names_of_train(name):
    assert find(name, "test") == {name: "train", "test": "test"}
    # The training split may be the only folder.
    assert find(name) == {name: "train"}


@pytest.mark.parametrize(
    ("name", "split"),
    [(name, "validation") for name in VALIDATION] + [(name, "test") for name in TEST],
)
def test_usual_names_of_the_other_splits(name, split):
    assert find("train", name) == {"train": "train", name: split}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "val", "test"), ("train", "validation", "test")),
        (("trainval", "test"), ("train", "test")),
        (("TrainVal", "Test"), ("train", "test")),
        # Folders around the splits.
        (("data/train", "data/test"), ("train", "test")),
        (("a/b/Training", "a/b/Testing"), ("train", "test")),
        (("images/train", "images/val"), ("train", "validation")),
        (("train/train", "train/val"), ("train", "validation")),
        (("data/train",), ("train",)),
        # Words that all names have in common.
        (("mnist_train", "mnist_test"), ("train", "test")),
        (("ILSVRC2012_img_train", "ILSVRC2012_img_val"), ("train", "validation")),
        # Plain names of splits need no training split beside them.
        (("val", "test"), ("validation", "test")),
        (("test",), ("test",)),
    ],
)
def test_splits_wherever_they_are(names, expected):
    assert find(*names) == dict(zip(names, expected, strict=True))


@pytest.mark.parametrize(
    ("names", "inside"),
    [
        (("train", "valid", "test"), "images"),
        (("Train", "Test"), "JPEGImages"),
        (("train", "test1"), None),
        (("seg_train", "seg_test"), None),
        (("Train", "Test"), "{}_images"),
    ],
)
def test_a_folder_of_all_images_of_a_split_is_no_class(names, inside):
    paths = [f"{name}/{(inside or '{}').format(name.lower())}" for name in names]
    layout = layout_detection.detect(folders_of(*paths), "photos")
    assert {"/".join(path) for path in layout.split_of} == set(paths)
    split, label = layout.place(f"{paths[0]}/cat/deep/1.jpg") or ("", "")
    assert (split, label) == ("train", "cat")
    assert layout.place(f"{paths[0]}/1.jpg") == ("train", "")


def test_a_folder_of_images_in_some_splits_alone_is_a_class():
    assert find("train/n01", "val/images") == {"train": "train", "val": "validation"}


@pytest.mark.parametrize(
    "names",
    [
        ("dev", "ops", "sales"),
        ("cat", "dog", "test"),
        ("airplane", "bus", "train"),
        ("train_station", "airport", "test_tube"),
        ("bullet_train", "cat"),
        ("fold1", "fold2"),
        ("images",),
        ("images/cat", "images/dog"),
        ("people/test",),
        ("plane/train", "bus/test"),
        ("cat", "1.jpg"),
        ("trains", "planes"),
    ],
)
def test_other_folders_are_classes(names):
    assert find(*names) == {"": ""}


@pytest.mark.parametrize(
    ("names", "why", "flag"),
    [
        (("train", "test", "extra"), "not all", "train=train,test=test"),
        (("train", "plane", "test"), "not all", "train=train,test=test"),
        (("train", "extra"), "not all", "train=train"),
        (("train2017", "unlabeled2017"), "not all", "train=train2017"),
        (("train", "train_labels"), "not all", "train=train"),
        (("train", "annotations"), "not all", "train=train"),
        (("train", "test_new"), "not all", "train=train,test=test_new"),
        (("seg_train", "seg_test", "seg_pred"), "not", "train=seg_train,test=seg_test"),
        (("trainA", "trainB", "testA"), "", "train=trainA,train=trainB,test=testA"),
        (("x/train", "x/test", "x/x/train"), "not", "train=x/train,test=x/test"),
        (
            ("test", "test1"),
            "more than one of them is the test",
            "test=test,test=test1",
        ),
        (
            ("train", "Train"),
            "than one of them is the train",
            "train=Train,train=train",
        ),
        (
            ("dev", "eval", "train"),
            "more than one of them is the validation",
            "train=train,val",
        ),
        (("val2017",), "none of them is the train split", "validation=val2017"),
        (
            ("dev", "holdout"),
            "none of them is the train",
            "validation=dev,test=holdout",
        ),
        (("cat/train", "cat/test", "dog/test"), "inside", "train=*/train,test=*/test"),
        (
            ("x/a/val", "x/a/Train", "x/b/Train"),
            "in",
            "train=x/*/Train,validation=x/*/v",
        ),
        (("data/train", "data/test", "logo.jpg"), "inside", "train=data/train,test=da"),
    ],
)
def test_what_is_ambiguous_is_an_error_with_the_flag(names, why, flag):
    match = f"^input=photos has folders that may be splits .*{why}.*: give "
    with pytest.raises(contract.DatasetError, match=match) as error:
        find(*names)
    assert f"give split_folders={flag}" in str(error.value)
    assert "or split_folders=none if no folder is a split" in str(error.value)
    # A user can copy the flag from the error as it is.
    text = str(error.value).partition("split_folders=")[2].partition(" to use")[0]
    asked = layouts.parse(dataset_settings.parse_folders(text) or ())
    layout_detection.with_images(asked, folders_of(*names), "photos")


@pytest.mark.parametrize("names", [("images",), ("train",), ("train", "test")])
def test_folders_are_classes_if_the_user_says_so(names):
    none = layouts.parse(["none"])
    layout = layout_detection.with_images(none, folders_of(*names), "photos")
    assert layout.place(f"{names[0]}/cat/1.jpg") == ("", names[0])


def test_masks_are_not_offered_as_images():
    names = ("images/train", "images/val", "masks/train", "masks/val")
    with pytest.raises(contract.DatasetError) as error:
        find(*names)
    assert "give split_folders=train=images/train,validation=images/val to " in str(
        error.value
    )


def test_an_image_beside_splits_is_an_error():
    with pytest.raises(
        contract.DatasetError, match=r"image logo.jpg is outside them: "
    ):
        find("Train", "Test", "logo.jpg")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("none", ("none",)),
        ("train=b,test=a", ("test=a", "train=b")),
        ("train=a, b,train=c=d,e", ("train=a, b", "train=c=d,e")),
    ],
)
def test_the_flag_is_pairs_of_splits_and_folders(text, expected):
    assert dataset_settings.parse_folders(text) == expected


@pytest.mark.parametrize(
    ("texts", "match"),
    [
        (["x"], "must be pairs SPLIT=FOLDER, as in train=Train,test=test1, or none"),
        (["val=x"], "must be pairs"),
        (["train="], "must be pairs"),
        (["train=../x"], "must be pairs"),
        (["none", "train=x"], "must be pairs"),
        (["train=x", "test=x/"], "names x/ twice, or a folder inside another fold"),
        (["train=x", "test=x/y"], "names x/y twice"),
        (["train=x/y", "test=x"], "names x twice"),
    ],
)
def test_pairs_that_cannot_be_used(texts, match):
    with pytest.raises(contract.DatasetError, match=match):
        layouts.parse(texts)
