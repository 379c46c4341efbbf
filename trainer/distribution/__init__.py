"""The strategy, the cluster, and messages between its hosts.

strategies  devices of this process, and the tf.distribute strategy
cluster     hosts that train together, from the environment
hosts       messages between hosts, besides gradients
loopback    keeps TensorFlow's server off the network
"""
