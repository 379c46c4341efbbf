"""Latents of examples, as the files that TensorBoard's embedding projector reads.

    projector_config.pbtxt   where the others are, and of which step
    projector/latents.tsv    the posterior mean of an example to a row
    projector/metadata.tsv   its key, label and attributes
    projector/sprite.png     its image, small, in the order of the rows

The newest latents take the place of those before.
"""

import io
import itertools
import math
import pathlib
import re
import shutil

import numpy as np
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector import metadata, projector_config_pb2

from pipeline import contract
from trainer import grids, workdir
from trainer.trained import TrainedRun

# A projector in a browser turns so many points smoothly, and WebGL takes their sprite.
MAX_POINTS = 2_000
_MAX_THUMBNAIL_SIDE = 48
_BATCH_SIZE = 200
_FOLDER = "projector"


def write(directory: pathlib.Path, run: TrainedRun) -> None:
    """Writes the posterior means of the first examples of the evaluated split.

    Args:
        directory: Of the events beside which TensorBoard looks for the files.
        run: Whose model encodes them.

    Raises:
        contract.DatasetError: If the split cannot be read.
        OSError: If the directory cannot be written.
    """
    folder = directory / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    sprite_path = folder / "sprite.png"
    # Which examples there are never changes in a run.
    is_described = sprite_path.exists()
    latents, thumbnails, lines = [], [], []
    batches = run.batches(run.config.eval_split, _BATCH_SIZE)
    for batch in itertools.islice(batches, MAX_POINTS // _BATCH_SIZE):
        mean, _ = run.vae.encode(batch["input"], batch["conditions"])
        latents.append(mean.numpy())
        if not is_described:
            thumbnails.append(_thumbnails(batch["image"]))
            lines += _lines(batch, run.manifest)
    height, width = _thumbnail_size(run.manifest.image_shape)
    if not is_described:
        header = _header(run.manifest)
        # TensorBoard takes the first line of a single column for an example.
        table = lines if len(header) == 1 else [header, *lines]
        text = "".join("\t".join(line) + "\n" for line in table)
        workdir.write_atomically(folder / "metadata.tsv", text.encode())
        grids.save_png(sprite_path, _square(np.concatenate(thumbnails)))
    buffer = io.BytesIO()
    np.savetxt(buffer, np.concatenate(latents), fmt="%.6g", delimiter="\t")
    workdir.write_atomically(folder / "latents.tsv", buffer.getvalue())
    config = projector_config_pb2.ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = f"{run.config.eval_split} latents at step {run.step}"
    embedding.tensor_path = f"{_FOLDER}/latents.tsv"
    embedding.metadata_path = f"{_FOLDER}/metadata.tsv"
    embedding.sprite.image_path = f"{_FOLDER}/sprite.png"
    embedding.sprite.single_image_dim.extend([width, height])
    workdir.write_atomically(
        directory / metadata.PROJECTOR_FILENAME,
        text_format.MessageToString(config).encode(),
    )


def cut(directory: pathlib.Path, last_step: int) -> None:
    """Removes latents of a later step than `last_step`."""
    path = directory / metadata.PROJECTOR_FILENAME
    text = path.read_text(errors="replace") if path.exists() else ""
    found = re.search(r"at step (\d+)", text)
    if found is None or int(found[1]) > last_step:
        path.unlink(missing_ok=True)
        shutil.rmtree(directory / _FOLDER, ignore_errors=True)


def _described_features(manifest: contract.Manifest) -> list[str]:
    """Returns those that tell examples apart: integers, alone or each with its name."""
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
    batch: dict[str, np.ndarray], manifest: contract.Manifest
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


def _square(images: np.ndarray) -> np.ndarray:
    """Lays images out in as many rows as columns; of others TensorBoard mixes them."""
    side = math.ceil(math.sqrt(len(images)))
    filling = np.full([side**2 - len(images), *images.shape[1:]], -1.0)
    return grids.tile(np.concatenate([images, filling]), side)


def _thumbnail_size(image_shape: tuple[int, ...]) -> tuple[int, int]:
    height, width, _ = image_shape
    scale = min(1.0, _MAX_THUMBNAIL_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _thumbnails(images: np.ndarray) -> np.ndarray:
    """Returns `[n, h, w, c]` in [-1, 1] as small as a sprite holds them."""
    height, width = _thumbnail_size(images.shape[1:])
    if (height, width) == images.shape[1:3]:
        return images
    small = np.empty([len(images), height, width, images.shape[3]], np.float32)
    for thumbnail, image in zip(small, images, strict=True):
        for channel in range(images.shape[3]):
            plane = Image.fromarray(image[..., channel].astype(np.float32))
            thumbnail[..., channel] = plane.resize(
                (width, height), Image.Resampling.BOX
            )
    return small
