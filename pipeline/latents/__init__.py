"""Datasets of latents, made by an exported encoder."""
