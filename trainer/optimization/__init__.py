"""The objective that training minimises, its optimizer and its learning rate.

losses      terms of an objective, per example
objectives  objectives, as sums of weighted terms
optimizers  optimizers by name
schedules   learning rate by step
"""
