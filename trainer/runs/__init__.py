"""A run on disk and in memory: settings, state, checkpoints, workdir.

settings          ranges of settings, and which may change on a resume
state             weights, their average, optimizer and step
checkpoints       checkpoints, written whole and checked when read
checkpoint_saver  writes checkpoints in the background, and keeps the right ones
workdir           the workdir: its files, its lock, its disk
environment       versions, devices and variables that decide rounding
trained           a trained run: model, settings, data
"""
