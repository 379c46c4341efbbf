"""Paths, local or in a bucket, and files that are written whole or not at all.

paths            reads and writes files by path, local or the URL of a bucket
files            writes local files whole: synced, then renamed
path_resolution  resolves paths independently of the working directory
manifests        loads the manifest of a dataset
contents         what a path holds, for errors about a wrong path
large_files      writes large local files, bypassing the page cache
locks            locks a directory for one process
buckets          reads and writes gs:// and s3://, as Beam's flags configure
"""
