"""The call that makes datasets in a Python program: `pipeline.prepare_dataset`.

datasets  Settings and prepare_dataset
"""
