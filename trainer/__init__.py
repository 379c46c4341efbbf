"""Trains and inspects variational autoencoders on prepared shards."""
