"""Which image goes to which split and shard."""
