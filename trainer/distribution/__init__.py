"""The strategy, the cluster, and messages between its hosts."""
