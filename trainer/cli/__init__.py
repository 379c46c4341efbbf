"""The command line: flags of the trainer's commands, and errors in them.

command_line  parsing, log lines and explained errors
config_files  errors in a config file or in its settings
train_flags   flags of trainer.train, sweep and doctor
console       the program `vaeline`, for all commands
"""
