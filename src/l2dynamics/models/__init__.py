"""The architectures of the paper, as Flax modules without mutable state."""
