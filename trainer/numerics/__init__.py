"""Arithmetic with the same result on any number of devices, and random streams.

exact         sums and matrix products that do not depend on the number of devices
precision     compute types, and the loss scale of float16
streams       the table of all streams of random numbers
random        random numbers of a stream
permutations  permutations by the random numbers of a stream
threads       number of threads per kernel on the CPU
"""
