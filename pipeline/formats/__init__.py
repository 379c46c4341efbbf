"""Records, and the metadata files of TensorFlow Datasets.

records     one example as a TFRecord
tfds_files  metadata files that let TensorFlow Datasets load a dataset directory
"""
