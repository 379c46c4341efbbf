"""Latents of examples, in the files that TensorBoard's embedding projector reads.

    projector_config.pbtxt   where the other files are, and the step of the run
    projector/latents.tsv    posterior means, one example per row
    projector/metadata.tsv   key, label and attributes of each example
    projector/sprite.png     small images of the examples, in row order

Newer latents replace older ones.
"""

import io
import itertools
import math
import pathlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector import metadata, projector_config_pb2

from pipeline import contract
from pipeline.storage import files
from trainer.analysis.posteriors import StoredLatents
from trainer.data import splits
from trainer.reporting import events, image_grid
from trainer.runs.trained import TrainedRun
from trainer.system import atomic_files

# Points written in training; a browser rotates this many smoothly.
MAX_POINTS = 2_000
_MAX_THUMBNAIL_SIDE = 48
# WebGL accepts a picture of this size everywhere; more points get smaller thumbnails.
_MAX_SPRITE_SIDE = 4_096
_BATCH_SIZE = 200
_FOLDER = "projector"


def write(directory: pathlib.Path, run: TrainedRun) -> None:
    """Writes the posterior means of the first examples of the evaluated split.

    Args:
        directory: Directory of events, where TensorBoard looks for the files.
        run: Run whose model encodes the examples.

    Raises:
        contract.DatasetError: If the split cannot be read.
        OSError: If the directory cannot be written.
    """
    split = run.config.eval_split
    batches = itertools.islice(_encoded(run, split), MAX_POINTS // _BATCH_SIZE)
    write_points(
        directory,
        f"{split} latents at step {run.step}",
        batches,
        run.manifest,
        _thumbnail_size(run.manifest.image_shape, MAX_POINTS),
        # The examples never change in a run, so the metadata and sprite stay.
        is_described=(directory / _FOLDER / "sprite.png").exists(),
    )


def write_split(
    directory: pathlib.Path,
    run: TrainedRun,
    split: str,
    latents: StoredLatents | None = None,
) -> None:
    """Writes the posterior means of a whole split.

    The directory has no events, which TensorBoard would show as an empty run. So
    `projector_points.gather` makes it known to TensorBoard.

    Args:
        directory: Directory to write to.
        run: Run whose model encodes the examples.
        split: Name of a split, or several names joined by a plus.
        latents: Stored latents to read the split from; None to encode the images of
            the run's dataset.

    Raises:
        contract.DatasetError: If the split cannot be read.
        OSError: If the directory cannot be written.
    """
    if latents is None:
        run.check_dataset()
        manifest, data_dir, batches = (
            run.manifest,
            run.dataset_dir,
            _encoded(run, split),
        )
    else:
        manifest, data_dir = latents.manifest, latents.directory
        batches = latents.pictured(split)
    shards = splits.shards_of(manifest, data_dir, split)
    num_points = sum(shard.num_examples for shard in shards)
    name = f"{split} latents at step {run.step}"
    size = _thumbnail_size(run.manifest.image_shape, num_points)
    write_points(directory, name, batches, manifest, size)
    # An earlier version wrote events here, which TensorBoard shows as an empty run.
    events.truncate(directory, last_step=-1)


def _encoded(run: TrainedRun, split: str) -> Iterator[dict[str, np.ndarray]]:
    for batch in run.batches(split, _BATCH_SIZE):
        mean, _ = run.vae.compiled_encode(batch["input"], batch["conditions"])
        yield {**batch, "posterior_mean": mean.numpy()}


def write_points(
    directory: pathlib.Path,
    name: str,
    batches: Iterable[Mapping[str, np.ndarray]],
    manifest: contract.Manifest,
    thumbnail_size: tuple[int, int],
    *,
    is_described: bool = False,
) -> None:
    """Writes latents, and the metadata of their examples.

    Args:
        directory: Directory of events, where TensorBoard looks for the files.
        name: Name that the projector shows.
        batches: `posterior_mean`, `key`, `image` in [-1, 1], and features.
        manifest: Manifest that describes the features.
        thumbnail_size: Height and width of an image in the sprite.
        is_described: Whether the directory already has all files but the latents.

    Raises:
        OSError: If the directory cannot be written.
    """
    folder = directory / _FOLDER
    files.make_directory(folder)
    latents, thumbnails, lines = [], [], []
    for batch in batches:
        latents.append(batch["posterior_mean"])
        if not is_described:
            thumbnails.append(_thumbnails(batch["image"], thumbnail_size))
            lines += _lines(batch, manifest)
    if not is_described:
        header = _header(manifest)
        # A single column has no header: TensorBoard would show it as an example.
        table = lines if len(header) == 1 else [header, *lines]
        text = "".join("\t".join(line) + "\n" for line in table)
        atomic_files.write(folder / "metadata.tsv", text.encode())
        image_grid.save_png(folder / "sprite.png", _square(np.concatenate(thumbnails)))
    buffer = io.BytesIO()
    np.savetxt(buffer, np.concatenate(latents), fmt="%.6g", delimiter="\t")
    atomic_files.write(folder / "latents.tsv", buffer.getvalue())
    config = projector_config_pb2.ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = name
    embedding.tensor_path = f"{_FOLDER}/latents.tsv"
    embedding.metadata_path = f"{_FOLDER}/metadata.tsv"
    embedding.sprite.image_path = f"{_FOLDER}/sprite.png"
    embedding.sprite.single_image_dim.extend(reversed(thumbnail_size))
    atomic_files.write(
        directory / metadata.PROJECTOR_FILENAME,
        text_format.MessageToString(config).encode(),
    )


def cut(directory: pathlib.Path, last_step: int) -> None:
    """Removes latents of a later step than `last_step`, or of an unknown step."""
    path = directory / metadata.PROJECTOR_FILENAME
    text = path.read_text(errors="replace") if path.exists() else ""
    match = re.search(r"at step (\d+)", text)
    if match is None or int(match[1]) > last_step:
        path.unlink(missing_ok=True)
        shutil.rmtree(directory / _FOLDER, ignore_errors=True)


def _described_features(manifest: contract.Manifest) -> list[str]:
    """Returns the integer features, single or as a vector with a name per value."""
    return [
        name
        for name, feature in manifest.features.items()
        if name not in ("key", "image") and (not feature.shape or feature.names)
    ]


def _header(manifest: contract.Manifest) -> list[str]:
    columns = ["key"]
    for name in _described_features(manifest):
        feature = manifest.features[name]
        columns += feature.names if feature.shape else [name]
    return columns


def _lines(
    batch: Mapping[str, np.ndarray], manifest: contract.Manifest
) -> list[list[str]]:
    lines = [[" ".join(key.split())] for key in batch["key"].tolist()]
    for name in _described_features(manifest):
        feature = manifest.features[name]
        for line, value in zip(lines, batch[name].tolist(), strict=True):
            if feature.shape:
                line += [str(each) for each in value]
            else:
                is_named = 0 <= value < len(feature.names)
                line.append(feature.names[value] if is_named else str(value))
    return lines


def _square(thumbnails: np.ndarray) -> np.ndarray:
    """Lays thumbnails out in a square; TensorBoard mixes up other layouts."""
    side = _side(len(thumbnails))
    filling = np.zeros([side**2 - len(thumbnails), *thumbnails.shape[1:]], np.uint8)
    return image_grid.tile_levels(np.concatenate([thumbnails, filling]), side)


def _side(num_points: int) -> int:
    return math.ceil(math.sqrt(num_points))


def _thumbnail_size(image_shape: tuple[int, ...], num_points: int) -> tuple[int, int]:
    """Returns height and width of a thumbnail."""
    height, width, _ = image_shape
    side = min(_MAX_THUMBNAIL_SIDE, _MAX_SPRITE_SIDE // _side(num_points))
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _thumbnails(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns uint8 thumbnails of `[n, h, w, c]` images in [-1, 1]."""
    height, width = size
    if size == images.shape[1:3]:
        return image_grid.to_levels(images)
    small = np.empty([len(images), height, width, images.shape[3]], np.float32)
    for thumbnail, image in zip(small, images, strict=True):
        for channel in range(images.shape[3]):
            plane = Image.fromarray(image[..., channel].astype(np.float32))
            thumbnail[..., channel] = plane.resize(
                (width, height), Image.Resampling.BOX
            )
    return image_grid.to_levels(small)
