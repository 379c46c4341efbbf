"""Encoders and decoders, and the VAE that joins them."""
