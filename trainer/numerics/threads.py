"""Number of threads per kernel on the CPU."""

# Default of `--num_threads`. A kernel that sums gives each thread a part, so the number
# decides the rounding.
NUM_THREADS = 2
