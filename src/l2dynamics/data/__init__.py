"""On which data networks are trained: found, checked against a manifest, decoded into arrays."""
