"""Beam: the graph, runners, workers and progress."""
