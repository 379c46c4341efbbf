import pytest

from pipeline import contract
from pipeline.dataset import examples, reject_limit, shards


def result(num_images, num_rejects):
    rejects = tuple(
        examples.Reject(f"{at:05d}.jpg", "unreadable", "an empty file")
        for at in range(num_rejects)
    )
    info = contract.ShardInfo("d", num_images - num_rejects, 1000, "0" * 64)
    return shards.ShardResult("train", 0, info, rejects, "p", "r")


def check(num_images, num_rejects, given=None):
    results = [result(num_images, num_rejects)]
    reject_limit.check("out", num_images, given, ["train"], results)


@pytest.mark.parametrize(
    ("num_images", "num_allowed"),
    [
        *((1, 0), (19, 0), (20, 1), (39, 1), (100, 5), (199, 9), (200, 10)),
        *((428, 10), (10_000, 10), (10_999, 10), (11_000, 11), (202_599, 202)),
    ],
)
def test_the_default_allows_a_few_rejects_of_a_small_set(num_images, num_allowed):
    check(num_images, num_allowed)
    with pytest.raises(
        contract.DatasetError, match=f"more than the {num_allowed} allowed by default"
    ):
        check(num_images, num_allowed + 1, None)


def test_a_given_fraction_replaces_the_default():
    check(428, 42, 0.1)
    with pytest.raises(
        contract.DatasetError, match=r"more than max_rejected_fraction=0 allows"
    ):
        check(428, 1, 0.0)


@pytest.mark.parametrize("num_images", [2, 3, 7, 10, 30, 49, 428, 1877, 202_599])
def test_the_named_fraction_suffices(num_images):
    for num_rejects in range(1, min(num_images, 500)):
        text = reject_limit.sufficient_fraction(num_rejects, num_images)
        assert 0 < float(text) <= 1
        check(num_images, num_rejects, float(text))


@pytest.mark.parametrize(
    ("num_rejects", "num_images", "text"),
    [
        *((5, 428, "0.02"), (1, 10, "0.1"), (3, 10, "0.3"), (29, 30, "1")),
        *((30, 30, "1"), (1, 202_599, "0.000005"), (2, 3, "0.7")),
    ],
)
def test_the_named_fraction_has_one_digit(num_rejects, num_images, text):
    assert reject_limit.sufficient_fraction(num_rejects, num_images) == text


def test_an_empty_split_is_not_accepted_by_a_fraction():
    with pytest.raises(contract.DatasetError) as error:
        check(30, 30)
    assert str(error.value).startswith("30 of 30 images were rejected, a fraction of 1")
    assert str(error.value).endswith(
        "out/rejected.jsonl names all of them; every image of split 'train' was "
        "rejected: repair the source"
    )


def test_missing_images_are_counted_before_an_overwrite():
    reject_limit.check_missing(["a"] * 10, 428, None)
    with pytest.raises(contract.DatasetError) as error:
        reject_limit.check_missing([f"{at}.jpg" for at in range(11)], 428, None)
    assert str(error.value) == (
        "11 of 428 images are missing, more than the 10 allowed by default: 0.jpg, "
        "1.jpg, 2.jpg, 3.jpg, 4.jpg, 5.jpg, 6.jpg, 7.jpg, 8.jpg, 9.jpg, ...; nothing "
        "in `output` was discarded; to accept the missing images: "
        "`max_rejected_fraction=0.03`"
    )
