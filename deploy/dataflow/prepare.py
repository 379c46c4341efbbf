"""pipeline.prepare, for the launcher of a flex template, which runs a file."""

import runpy

runpy.run_module("pipeline.prepare", run_name="__main__", alter_sys=True)
