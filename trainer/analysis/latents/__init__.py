"""Measures and models of what the latents hold."""
