"""A run on disk and in memory: settings, state, checkpoints, workdir."""
