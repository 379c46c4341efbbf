"""Turns raw images into verified TFRecord shards with an Apache Beam job."""

from pipeline import interrupts

interrupts.begin()
