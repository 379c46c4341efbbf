"""Paths, local or in a bucket, and files that are written whole.

paths            files by their path, local or the URL of a bucket
files            local files: written whole, synced, renamed
path_resolution  where paths lead, from any working directory
manifests        the manifest of a dataset
large_files      local files that are written past the page cache
locks            directories that one process holds
buckets          gs:// and s3://, by the clients that Beam's flags configure
"""
