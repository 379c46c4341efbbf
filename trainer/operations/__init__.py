"""Preflight checks, sweeps and version checks."""
