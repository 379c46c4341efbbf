"""Paths, local or in a bucket, and files that are written whole."""
