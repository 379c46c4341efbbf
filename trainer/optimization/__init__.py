"""The objective that training minimises, and its learning rate.

losses      terms of an objective, per example
objectives  objectives, as sums of weighted terms
schedules   learning rate by step
"""
