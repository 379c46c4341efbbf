"""Preflight checks and sweeps.

diagnosis      preflight checks of a training
checks         runs all checks, even after a failure
package_names  other packages with the names pipeline, trainer or configs
estimates      memory and disk that a run will need
sweeps         trains the runs of a sweep in parallel
sweep_plan     runs of a sweep, from the values of its settings
sweep_results  table of a sweep's results
"""
