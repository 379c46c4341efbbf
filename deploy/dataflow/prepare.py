"""Runs pipeline.prepare: the launcher of a flex template runs a file, not a module."""

import runpy

runpy.run_module("pipeline.prepare", run_name="__main__", alter_sys=True)
