"""Experiment settings: values only, one file per experiment."""
