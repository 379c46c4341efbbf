"""A run on disk and in memory: settings, state, checkpoints, workdir.

settings          resolves settings for the devices; compares them on a resume
setting_checks    ranges and choices of settings
flagship          settings of a run that differ from configs/celeba.py
state             weights, their average, optimizer and step
checkpoints       checkpoints, written atomically and checked when read
arrays_file       arrays of a checkpoint, as safetensors or npz
checkpoint_saver  writes checkpoints in the background; checkpoint retention
workdir           the workdir: its files, its lock, its disk
metrics_file      reads and truncates metrics.jsonl
environment       versions, devices and variables that decide rounding
trained           a trained run: model, settings, data
"""
