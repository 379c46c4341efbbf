"""Beam: the graph, runners, workers and progress.

graph         the Beam graph
counters      counters of a run, as Beam metrics and in its summary
runners       the choice of a runner, its flags and its errors
job_servers   checks that the servers of a runner answer
local_runner  Beam's local runner, in this process or with workers
worker        worker processes of the local runner
progress      progress bar, and the check that missing shards fit on the disk
preparing     a dataset of images from a source of raw images
dataset_job   one run of a job that makes a dataset, from its plan to its manifest
execution     how the commands that make datasets begin and end
ipython       builds graphs in a notebook as in a script
quiet         drops needless log records of Beam
source_flags  flags of raw images
"""
