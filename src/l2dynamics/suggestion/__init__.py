"""Which λ for your training: short runs, where they are made, and what they say."""
