"""Strict settings for every test; they must be made before jax is imported."""

from l2dynamics import runtime

runtime.configure()

import jax  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")
