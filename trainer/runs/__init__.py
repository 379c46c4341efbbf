"""A run on disk and in memory: settings, state, checkpoints, workdir.

settings          settings of a device count, and those that may change on a resume
setting_checks    ranges and choices of settings
state             weights, their average, optimizer and step
checkpoints       checkpoints, written whole and checked when read
arrays_file       arrays of a checkpoint, as safetensors or npz
checkpoint_saver  writes checkpoints in the background, and keeps the right ones
workdir           the workdir: its files, its lock, its disk
metrics_file      metrics.jsonl, read and truncated
environment       versions, devices and variables that decide rounding
trained           a trained run: model, settings, data
"""
