import errno
import json
import subprocess
import sys
import tempfile

import numpy as np
import pytest

from pipeline import contract
from pipeline.sources import image_table


def make_images(numbers) -> image_table.ImageTable:
    numbers = np.array(numbers, np.int64)
    return image_table.ImageTable(
        keys=[f"{number}.jpg" for number in numbers.tolist()],
        locations=np.stack([numbers, -numbers], axis=1),
        features={"label": numbers % 10},
    )


def numbers_of(table: image_table.ImageTable) -> list[int]:
    """Returns the number of each row, and checks that all its columns match."""
    numbers = table.locations[:, 0]
    assert list(table.keys) == [f"{number}.jpg" for number in numbers.tolist()]
    np.testing.assert_array_equal(table.locations[:, 1], -numbers)
    np.testing.assert_array_equal(table.features["label"], numbers % 10)
    return numbers.tolist()


@pytest.mark.parametrize("max_in_memory", [0, 10, 35, 1000])
def test_a_spool_gives_what_it_got(max_in_memory):
    spool = image_table.Spool(max_in_memory)
    for start in range(0, 100, 7):
        spool.add(make_images(range(start, min(start + 7, 100))))
    for _ in range(2):
        actual = [number for block in spool for number in numbers_of(block)]
        assert actual == list(range(100))


@pytest.mark.parametrize("max_in_memory", [0, 1000, 7000, 1_000_000])
def test_partitions_are_in_the_order_of_the_hashes(max_in_memory):
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 20_000, np.uint64)
    # Hashes at the edges of all partitions, and the hashes next to them.
    firsts = np.arange(1024, dtype=np.uint64) << np.uint64(54)
    hashes[: 3 * 1024] = np.concatenate([firsts, firsts + 1, firsts - 1])
    partitions = image_table.Partitions(max_in_memory)
    for start in range(0, 20_000, 900):
        part = range(start, min(start + 900, 20_000))
        partitions.add(hashes[part.start : part.stop], make_images(part))
    assert partitions.num_rows == 20_000
    expected = sorted(range(20_000), key=lambda at: (hashes[at], f"{at}.jpg"))
    for _ in range(2):
        places = []
        for its_hashes, block in partitions:
            numbers = numbers_of(block)
            np.testing.assert_array_equal(its_hashes, hashes[numbers])
            places += numbers
        assert places == expected


def test_the_key_decides_between_equal_hashes():
    partitions = image_table.Partitions(max_in_memory=3)
    for number in (7, 1, 12, 3, 10, 5):
        partitions.add(np.array([number // 10], np.uint64), make_images([number]))
    blocks = [numbers_of(block) for _, block in partitions]
    assert [number for block in blocks for number in block] == [1, 3, 5, 7, 10, 12]


def test_nothing_gives_nothing():
    assert (
        list(image_table.Spool())
        == list(image_table.Partitions())
        == list(image_table.in_blocks([]))
        == []
    )


def test_blocks_are_full_but_for_the_last():
    images = [(f"{at}", (at, 0)) for at in range(10)]
    blocks = list(image_table.in_blocks(iter(images), num_rows=4))
    assert [len(block) for block in blocks] == [4, 4, 2]
    assert blocks[2].keys == ["8", "9"]
    assert blocks[2].locations.tolist() == [[8, 0], [9, 0]]


def test_a_full_disk_says_where(monkeypatch):
    class FullFile:
        def seek(self, *_):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", FullFile)
    spool = image_table.Spool(max_in_memory=0)
    with pytest.raises(contract.DatasetError, match="No space left .*: .*TMPDIR"):
        spool.add(make_images([1]))


_PLAN = """
import json, resource, sys
import numpy as np
from pipeline import contract, sources
from pipeline.planning import plan, plan_files
from pipeline.planning.dataset_settings import Settings
from pipeline.sources import image_table

num_images, output = int(sys.argv[1]), sys.argv[2]

class Parts:
    def __iter__(self):
        for start in range(0, num_images, 1 << 16):
            numbers = np.arange(start, min(start + (1 << 16), num_images))
            keys = [f"photos/{at >> 10:06d}/{at:010d}.jpg" for at in numbers]
            locations = np.stack([numbers, numbers], axis=1)
            yield "train", image_table.ImageTable(keys, locations)

listing = sources.Listing("images", Parts(), {}, "ab", None)
planned, total, sample = [], 0, []
for shard_plan in plan.shard_plans(listing, Settings(shard_size=4096)):
    planned.append(plan_files.save_plan(shard_plan, output, "run"))
    # A plan is right if the places are those of the keys, and together all of them.
    places = shard_plan.images.locations[:, 0]
    keys = shard_plan.images.keys
    assert int(keys[0][-14:-4]) == places[0] and int(keys[-1][-14:-4]) == places[-1]
    total += int(places.sum())
assert total == num_images * (num_images - 1) // 2
sizes = {shard.num_images for shard in planned}
assert max(sizes) - min(sizes) <= 1
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([len(planned), sum(shard.num_images for shard in planned), peak]))
"""


def plan_images(num_images: int, output) -> tuple[int, int, int]:
    """Returns the numbers of planned shards and images, and the peak memory in KB.

    Planning runs in a process of its own, because a peak covers a process's whole life.
    """
    (output / ".progress").mkdir(parents=True)
    command = [sys.executable, "-c", _PLAN, str(num_images), str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(done.stdout))


# Planning eleven million images takes most of a minute.
@pytest.mark.slow
def test_ten_million_images_are_planned_in_the_memory_of_one_million(tmp_path):
    *_, memory = plan_images(1_000_000, tmp_path / "one")
    num_shards, num_images, more_memory = plan_images(10_000_000, tmp_path / "ten")
    assert (num_shards, num_images) == (4096, 10_000_000)
    assert more_memory < 1.25 * memory, (memory, more_memory)
