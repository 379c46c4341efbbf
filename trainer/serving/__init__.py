"""Exported models, which need nothing of this package."""
