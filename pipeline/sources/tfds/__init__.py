"""Datasets that TensorFlow Datasets prepared.

tfds         the source: splits, features, labels
tfds_info    reads dataset_info.json and features.json
tfds_names   finds a prepared data set by its name
tfds_build   has TensorFlow Datasets prepare a data set
tfds_labels  classes, attributes and landmarks of a record
tfds_shards  shard files and their names
tfds_reader  reads one image of a shard
"""
