"""Assigns images to splits and shards.

dataset_settings  settings of a dataset, and their allowed values
plan              assigns images to shards, by hashes of their keys
plan_files        saves plans to disk, where the workers load them
"""
