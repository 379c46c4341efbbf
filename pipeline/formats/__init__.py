"""Records, and the metadata files of TensorFlow Datasets.

records     one example as a TFRecord
tfds_files  files by which TensorFlow Datasets loads a dataset directory
"""
