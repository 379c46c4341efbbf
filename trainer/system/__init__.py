"""Files, processes, signals and memory of this machine.

atomic_files  files that are on the disk in full or not at all
background    work that a run does not wait for
machine       memory, disk and ports of this machine
signals       signals that ask a run to stop
subprocesses  processes of trainer.train
supervisor    processes of one training, restarted when one dies
versions      installed packages against the versions that setup.py allows
libraries     the quick and quiet import of TensorFlow
"""
