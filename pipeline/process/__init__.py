"""How the process of a command begins and ends, for both packages.

entry         flags and exit codes of every command
command_help  the text of --help
log_lines     the format of every log
output        errors of standard output, such as a closed pipe or a full disk
interrupts    Ctrl-C and SIGTERM, from the first import on
limits        open files, memory, warnings and addresses of this process
ports         free ports of this machine
variables     environment variables that would change numbers or pictures
path_flags    flags whose value is a path, and commands to print
arguments     arguments in texts of errors, and the flags that commands show
wording       numbers with their nouns
bars          progress of what takes over two seconds
"""
