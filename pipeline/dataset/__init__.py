"""A dataset directory: shards, statistics, publication, and the lock of a run.

output_directory  an output directory, locked by one run
output_files      names and removal of the files that runs write
examples          preprocesses the images of a shard, or rejects them
shards            writes one shard file and its sidecar from a plan
reject_limit      the allowed number of rejects, and their file
reject_check      tries the rejects of finished shards again
stats             counts, colours and a few images of a dataset
publishing        combines the results of all shards into the manifest
versions          versions of the libraries that decide values and bytes
"""
