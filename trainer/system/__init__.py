"""Files, processes, signals and memory of this machine.

atomic_files  files that are on the disk in full or not at all
background    tasks that run in a thread beside the training
machine       memory, disk and ports of this machine
signals       signals that ask a run to stop
subprocesses  processes of trainer.train
supervisor    restarts the processes of a training when one dies
versions      compares installed packages with the versions in setup.py
libraries     imports TensorFlow quickly and quietly
"""
