"""Measures and models of the latents.

usage            number of active latents, and distance from the prior
probe            labels and attributes, read by a linear classifier
directions       directions of attributes
disentanglement  MIG, DCI and SAP
factors          true factors of synthetic faces
mixture          a Gaussian mixture of latents
neighbours       exact nearest neighbours
pca              reconstructions by a PCA
"""
