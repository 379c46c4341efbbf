"""A trained run as a Python object.

run              encode, decode, sample, reconstruct, interpolate
user_images      converts a user's images to images of the model
user_conditions  converts a user's labels and attributes to condition vectors
"""
