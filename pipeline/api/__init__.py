"""The call that makes datasets in a Python program: `pipeline.prepare_dataset`.

datasets   Settings and prepare_dataset
arguments  errors that name arguments instead of flags
"""
