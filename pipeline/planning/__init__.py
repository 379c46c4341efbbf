"""Which image goes to which split and shard.

dataset_settings  settings of a dataset, and their allowed values
plan              images to splits and shards, by hashes of their keys
plan_files        plans on disk, for the workers
"""
