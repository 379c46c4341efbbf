"""From shards to batches.

input_pipeline   tf.data pipelines from shards to batches
shuffling        records of a step: a function of dataset, seed, batch size and step
lanes            shuffling inside blocks, for disks that are slow at random reads
split_records    records of a split, in batches
plain_records    the same batches by TensorFlow's own reader
record_reader    reads records by their places, and checks them
compiled_reader  the reading loop of a batch, compiled by Numba
serialized       takes serialized Examples apart without parsing them
shard_files      open shards, and the positions of records in them
splits           shards of a split, checked against the manifest
small_features   features besides the image, parsed once
corruption       targets and corrupted inputs of a step
"""
