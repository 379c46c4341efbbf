"""The training loop and the parts that it calls.

loop        training, read from top to bottom
steps       the compiled update and evaluation
forward     from a batch to the objective's terms
gradients   gradients of a global batch, in slices
validation  validation over a whole split
monitor     evaluations and pictures of a running training
cadence     steps at which a run logs, evaluates, draws and keeps
throughput  steps per second, and steps per call
progress    the live line, and lines in the log
profiling   a profile of some steps
"""
