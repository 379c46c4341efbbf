"""A trained run as a Python object.

run              encode, decode, sample, reconstruct, interpolate
user_images      images as a user has them, made into those of a model
user_conditions  labels and attributes as a user has them, made into vectors
"""
