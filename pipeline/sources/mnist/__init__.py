"""MNIST and the datasets made in its image."""
