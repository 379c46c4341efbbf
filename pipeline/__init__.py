"""Turns raw images into verified TFRecord shards with an Apache Beam job."""

from pipeline import interrupts, process

# A signal is answered from here on, while libraries are imported, too.
interrupts.begin()
process.prepare()
