"""Arithmetic that is equal on every number of devices, and streams of randomness."""
