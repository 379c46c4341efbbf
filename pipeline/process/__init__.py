"""How the process of a command begins and ends: flags, signals, limits, variables."""
