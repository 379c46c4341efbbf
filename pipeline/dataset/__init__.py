"""Shards, statistics, publication, and the claimed output directory."""
