"""Paths, local or in a bucket, and files that are written whole.

paths    files by their path, local or the URL of a bucket
files    local files: synced, renamed, locked, or written past the page cache
buckets  gs:// and s3://, by the clients that Beam's flags configure
"""
