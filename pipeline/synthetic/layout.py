"""Writes synthetic faces in CelebA's official layout.

    DIR/img_align_celeba.zip              img_align_celeba/000001.jpg ...
    DIR/Eval/list_eval_partition.txt      000001.jpg 0
    DIR/Anno/list_attr_celeba.txt         count, forty names, 000001.jpg -1  1 ...
    DIR/Anno/list_landmarks_align_celeba.txt
    DIR/factors.csv                       the true factors of every image

Every file is written under a temporary name, and renamed once it is complete and on
the disk. The zip is renamed last, so a directory with the zip in it is whole.
"""

import contextlib
import csv
import io
import os
import pathlib
import sys
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO

import tqdm

from pipeline.contract import DatasetError
from pipeline.process import limits
from pipeline.sources.celeba.attributes import ATTRIBUTE_NAMES, LANDMARK_NAMES
from pipeline.storage.files import discard, make_directory, put, sync_names
from pipeline.synthetic import drawings
from pipeline.synthetic.factors import FACTOR_NAMES

ZIP_NAME = "img_align_celeba.zip"
PARTITION_NAME = "Eval/list_eval_partition.txt"
ATTRIBUTES_NAME = "Anno/list_attr_celeba.txt"
LANDMARKS_NAME = "Anno/list_landmarks_align_celeba.txt"
FACTORS_NAME = "factors.csv"
# Order of the renames: the first file marks the directory as synthetic faces, and the
# last file marks it as whole.
FILE_NAMES = (FACTORS_NAME, PARTITION_NAME, ATTRIBUTES_NAME, LANDMARKS_NAME, ZIP_NAME)

# CelebA's own proportions of train, validation and test.
_CELEBA_TRAIN, _CELEBA_VALIDATION, _CELEBA_IMAGES = 162_770, 19_867, 202_599
_MAX_IMAGES = 999_999  # Six digits.
_TEMPORARY_SUFFIX = ".partial"


def split_sizes(num_images: int) -> tuple[int, int, int]:
    """Returns the number of train, validation and test images, in CelebA's ratio.

    Raises:
        DatasetError: If there are fewer than three images, one per split, or more
            images than six digits can name.

    Example:
        >>> split_sizes(202_599)
        (162770, 19867, 19962)
    """
    if num_images < 3:
        raise DatasetError(
            f"num_images={num_images} must be at least 3, one image for each split"
        )
    if num_images > _MAX_IMAGES:
        raise DatasetError(
            f"num_images={num_images} must be at most {_MAX_IMAGES}, the last of "
            "CelebA's six-digit file names"
        )
    num_validation = max(1, num_images * _CELEBA_VALIDATION // _CELEBA_IMAGES)
    num_train = max(1, num_images * _CELEBA_TRAIN // _CELEBA_IMAGES)
    num_train = min(num_train, num_images - num_validation - 1)
    return num_train, num_validation, num_images - num_train - num_validation


def write_dataset(
    output_dir: str | os.PathLike[str],
    num_images: int,
    seed: int,
    num_workers: int | None = None,
    overwrite: bool = False,
    show_progress: bool = True,
) -> pathlib.Path:
    """Draws `num_images` faces into a directory.

    The bytes of every file depend on (num_images, seed) alone, and not on the number
    of workers. Memory holds only the images in progress, and the zip's directory.

    Args:
        output_dir: Output directory, made if it does not exist.
        num_images: Number of faces, 3 or more.
        seed: Seed, 0 or more and below 2**64. An image depends on the seed and the
            image's index alone.
        num_workers: Number of processes that draw (default: one per core). With 1,
            this process draws alone.
        overwrite: Whether to replace a dataset that is already there.
        show_progress: Whether to show a bar on stderr.

    Returns:
        The path of the zip.

    Raises:
        DatasetError: If a number is out of range, the directory cannot be written, it
            has files that are not synthetic faces, or it has a complete dataset and
            `overwrite` is False. An existing dataset stays if drawing or writing fails.
    """
    sizes = split_sizes(num_images)
    if not 0 <= seed < 2**64:
        raise DatasetError(f"seed={seed} must be from 0 to 2**64-1")
    num_workers = limits.num_cores() if num_workers is None else num_workers
    if num_workers < 1:
        raise DatasetError(f"num_workers={num_workers} must be at least 1")
    root = pathlib.Path(output_dir)
    zip_path = root / ZIP_NAME
    try:
        _check_output(root, overwrite=overwrite)
        with (
            _open_files(root) as files,
            drawings.draw_all(num_images, seed, num_workers) as faces,
        ):
            bar = tqdm.tqdm(
                faces,
                total=num_images,
                unit="img",
                # A log gets a line every 30 s.
                mininterval=0.1 if sys.stderr.isatty() else 30.0,
                disable=not show_progress,
            )
            _write_all(bar, files, sizes)
    except OSError as error:
        text = limits.error_text(error)
        raise DatasetError(f"cannot write the dataset {root}: {text}") from error
    return zip_path


def _check_output(root: pathlib.Path, *, overwrite: bool) -> None:
    """Checks that a run may replace the files in a directory.

    It may replace only synthetic faces, and a complete dataset only with `overwrite`.

    Raises:
        DatasetError: If a run may not replace the files.
        OSError: If the existing files cannot be read.
    """
    existing = [name for name in FILE_NAMES if os.path.lexists(root / name)]
    if not existing:
        return
    header = b""
    if (root / FACTORS_NAME).is_file():
        with (root / FACTORS_NAME).open("rb") as file:
            header = file.read(len(_factors_header()))
    if header != _factors_header():
        raise DatasetError(
            f"output={root} has {existing[0]}, but no {FACTORS_NAME} of synthetic "
            "faces beside it, so nothing is replaced: give another `output`"
        )
    if (root / ZIP_NAME).exists() and not overwrite:
        raise DatasetError(
            f"{root / ZIP_NAME} exists already: give `overwrite=True` to replace it, "
            "or another `output`"
        )


def _factors_header() -> bytes:
    return _csv_line(("image", *FACTOR_NAMES))


@contextlib.contextmanager
def _open_files(root: pathlib.Path) -> Iterator[dict[str, IO[bytes]]]:
    """Opens all files under temporary names, and renames them after a success."""
    partial = {name: root / f"{name}{_TEMPORARY_SUFFIX}" for name in FILE_NAMES}
    is_complete = False
    try:
        with contextlib.ExitStack() as stack:
            files: dict[str, IO[bytes]] = {}
            for name, path in partial.items():
                make_directory(path.parent)
                # Writing through a link would change another file.
                discard(path)
                files[name] = stack.enter_context(path.open("wb"))
            yield files
        # Old images next to new labels would look whole.
        (root / ZIP_NAME).unlink(missing_ok=True)
        sync_names(root)
        for name, path in partial.items():
            put(path, root / name)
        is_complete = True
    finally:
        if not is_complete:
            for path in partial.values():
                discard(path)


def _write_all(
    faces: Iterable[drawings.Drawing],
    files: dict[str, IO[bytes]],
    sizes: tuple[int, int, int],
) -> None:
    num_train, num_validation, _ = sizes
    num_images = sum(sizes)
    files[ATTRIBUTES_NAME].write(
        f"{num_images}\n{' '.join(ATTRIBUTE_NAMES)} \n".encode()
    )
    files[LANDMARKS_NAME].write(f"{num_images}\n{' '.join(LANDMARK_NAMES)} \n".encode())
    files[FACTORS_NAME].write(_factors_header())
    with zipfile.ZipFile(files[ZIP_NAME], "w", zipfile.ZIP_STORED) as archive:
        for index, drawing in enumerate(faces):
            split = (index >= num_train) + (index >= num_train + num_validation)
            name = drawing.name
            values = " ".join(f"{value:2d}" for value in drawing.attributes)
            points = " ".join(f"{value:4d}" for value in drawing.landmarks)
            files[PARTITION_NAME].write(f"{name} {split}\n".encode())
            files[ATTRIBUTES_NAME].write(f"{name} {values}\n".encode())
            files[LANDMARKS_NAME].write(f"{name} {points}\n".encode())
            files[FACTORS_NAME].write(_csv_line((name, *drawing.factors)))
            archive.writestr(_member(name), drawing.jpeg)


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(f"img_align_celeba/{name}", (1980, 1, 1, 0, 0, 0))
    # The same on every system: a regular file, made on Unix, rw-r--r--.
    info.create_system = 3
    info.external_attr = 0o100644 << 16
    return info


def _csv_line(values: tuple[object, ...]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue().encode()
