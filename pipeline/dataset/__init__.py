"""A dataset directory: its shards, statistics, publication, and the run that locks it.

output_directory  an output directory, locked by one run
output_files      files that runs write into it, and their removal
examples          images of a shard, made or rejected
shards            one plan to one shard file and its sidecar
reject_check      rejects of finished shards, tried again
stats             counts, colours and a few images of a dataset
publishing        all results to the manifest
versions          versions of the libraries that decide values and bytes
"""
