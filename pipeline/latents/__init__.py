"""Datasets of latents, made by an exported encoder.

export_description  what an export of a model says of itself
encoder             the exported model in a worker; only here does TensorFlow run
encoding            a dataset of latents, from a dataset or from raw images
latent_plan         plan of a dataset of latents
latent_images       images of one shard
latent_shards       one shard of latents
"""
