"""Turns raw images into verified TFRecord shards with an Apache Beam job."""

from pipeline.process import interrupts, limits

# A signal is answered from here on, while libraries are imported, too.
interrupts.begin()
limits.prepare()
