"""Records, and the metadata files of TensorFlow Datasets."""
