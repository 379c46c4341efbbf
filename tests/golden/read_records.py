"""Writes every feature of a dataset, as the trainer reads it, to an .npz file.

python -m tests.golden.read_records DATASET FILE
"""

import sys

import numpy as np

from pipeline import contract
from trainer.data import input_pipeline


def main() -> None:
    """Reads all splits in the order on disk."""
    dataset, file = sys.argv[1:]
    manifest = contract.load_manifest(dataset)
    actual = {}
    for split in manifest.splits:
        batches = list(input_pipeline.examples(manifest, dataset, split, 3))
        for name in batches[0]:
            arrays = [batch[name].numpy() for batch in batches]
            array = np.concatenate(arrays)
            actual[f"{split}/{name}"] = array.astype(bytes) if name == "key" else array
    np.savez(file, **actual)


if __name__ == "__main__":
    main()
