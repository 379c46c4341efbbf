"""Flags of the trainer's commands, and errors in them."""
