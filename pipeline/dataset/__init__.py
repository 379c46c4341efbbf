"""A dataset directory: its shards, statistics, publication, and who holds it.

output_directory  an output directory, held by one run
examples          images of a shard, made or rejected
shards            one plan to one shard file and its sidecar
second_look       rejects of finished shards, tried again
stats             counts, colours and a few images of a dataset
publishing        all results to the manifest
versions          versions of the libraries that decide values and bytes
"""
