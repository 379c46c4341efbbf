"""Number of threads by which a kernel on the CPU splits its work."""

# Threads by which kernels split their work, unless a run is given another number.
NUM_THREADS = 2
