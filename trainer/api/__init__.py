"""A trained run as a Python object.

run  encode, decode, sample, reconstruct, interpolate
"""
