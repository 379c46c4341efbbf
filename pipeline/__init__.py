"""Turns raw images into verified TFRecord shards with an Apache Beam job.

contract    manifest, features, and names of shards: all that the trainer sees
prepare     command: raw images to verified shards
encode      command: images to shards of latents
verify      command: a dataset against its manifest
synthesize  command: draws a synthetic CelebA
"""

from pipeline.process import interrupts, limits

# A signal is answered from here on, while libraries are imported, too.
interrupts.begin()
limits.prepare()
