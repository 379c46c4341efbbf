"""The training loop and its parts.

loop        training, read from top to bottom
steps       the compiled update and evaluation
forward     forward pass from a batch to the objective's terms
gradients   gradients of a global batch, in slices
validation  validation over a whole split
monitor     evaluations and pictures during training
cadence     when a run logs, evaluates, draws and keeps checkpoints
throughput  steps per second, and steps per call
progress    the live line, and lines in the log
profiling   a profile of some steps
"""
