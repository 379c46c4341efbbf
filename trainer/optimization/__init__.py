"""The objective that training minimises, the optimizer and the learning rate.

losses      terms of an objective, per example
objectives  objectives, as sums of weighted terms
optimizers  optimizers by name
schedules   learning rate as a function of the step
"""
