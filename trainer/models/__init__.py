"""Encoders, decoders and the VAE that joins them.

vae              the VAE: encoder, draw, decoder
networks         encoder and decoder
layers           Keras layers that compute the same bits on any number of devices
batch_norm       batch normalisation over the global batch
options          options of a layer
conditions       conditions of a conditional VAE
semi_supervised  the M2 model: a class from few labels
likelihoods      p(x given z)
"""
