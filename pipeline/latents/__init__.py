"""Makes datasets of latents with an exported encoder.

export_description  reads an export's description of its model
encoder             runs the exported model in a worker; the only use of TensorFlow
encoding            makes a dataset of latents, from a dataset or from raw images
latent_plan         plans a dataset of latents
latent_images       reads the images of one shard
latent_shards       makes one shard of latents
"""
