"""Command line of the trainer: flags of its commands, and their errors.

command_line  parses flags, explains errors
config_files  errors in a config file or in its settings
train_flags   flags of trainer.train, sweep and doctor
console       the program `vaeline`, for all commands
"""
