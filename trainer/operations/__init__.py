"""Preflight checks and sweeps.

diagnosis      preflight checks of a training
checks         runs all checks, whatever one finds
package_names  other packages with the names pipeline, trainer or configs
estimates      memory and disk that a run will take
sweeps         runs of a sweep, trained beside each other
sweep_plan     runs of a sweep, from its values
sweep_results  table of a sweep
"""
