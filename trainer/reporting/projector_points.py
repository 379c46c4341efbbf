"""Points that trainer.generate made for the embedding projector of TensorBoard.

The module needs no TensorFlow, because `tensorboard_server` loads TensorFlow later.
"""

import pathlib
import shutil
from collections.abc import Mapping

from google.protobuf import text_format
from tensorboard.plugins.projector import metadata, projector_config_pb2


def find(workdir: pathlib.Path) -> list[pathlib.Path]:
    """Returns the directories that `write_split` wrote, in order of names.

    Args:
        workdir: Workdir of a run, or the directory of a sweep.
    """
    name = f"generated/projector-*/{metadata.PROJECTOR_FILENAME}"
    found = [*workdir.glob(name), *workdir.glob(f"*/{name}")]
    return sorted(path.parent for path in found)


def gather(directory: pathlib.Path, folders: Mapping[str, pathlib.Path]) -> None:
    """Makes the points of several directories known to TensorBoard.

    TensorBoard reads a projector's files without events only from its root directory,
    and only if the files are inside, so they are linked or copied.

    Args:
        directory: Root directory of TensorBoard.
        folders: Directories that `write_split` wrote, by the name before their points.

    Raises:
        OSError: If a file cannot be read or copied.
    """
    gathered = projector_config_pb2.ProjectorConfig()
    for index, (name, folder) in enumerate(folders.items()):
        text = (folder / metadata.PROJECTOR_FILENAME).read_text(encoding="utf-8")
        config = text_format.Parse(text, projector_config_pb2.ProjectorConfig())
        place = f"projector-{index}"
        (directory / place).mkdir()
        for path in (folder / "projector").iterdir():
            _link(path, directory / place / path.name)
        for embedding in config.embeddings:
            added = gathered.embeddings.add()
            added.CopyFrom(embedding)
            added.tensor_name = f"{name}{embedding.tensor_name}"
            added.tensor_path = f"{place}/latents.tsv"
            added.metadata_path = f"{place}/metadata.tsv"
            added.sprite.image_path = f"{place}/sprite.png"
    (directory / metadata.PROJECTOR_FILENAME).write_text(
        text_format.MessageToString(gathered), encoding="utf-8"
    )


def _link(path: pathlib.Path, target: pathlib.Path) -> None:
    try:
        target.hardlink_to(path)
    except OSError:
        # Another disk, or a disk without hard links.
        shutil.copyfile(path, target)
