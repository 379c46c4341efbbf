"""Synthetic faces with true attributes, in the layout of CelebA."""
