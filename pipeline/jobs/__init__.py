"""Beam: the graph, runners, workers and progress.

graph         the Beam graph
counters      counters of a run, as Beam metrics and in its summary
runners       the choice of a runner, its flags and its errors
job_servers   servers that a runner needs, and whether they answer
local_runner  Beam's local runner, in this process or with workers
worker        worker processes of the local runner
progress      images done, speed, and whether the rest fits on the disk
preparing     a dataset of images
dataset_job   one run of a job that makes a dataset, from its plan to its manifest
execution     how the commands that make datasets begin and end
quiet         what Beam logs without need
source_flags  flags of raw images
"""
