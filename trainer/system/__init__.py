"""Files, processes, signals and memory of this machine."""
