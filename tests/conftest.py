"""Strict settings for every test; they must be made before jax is imported."""

from l2dynamics import runtime

runtime.configure()

import jax  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_collection_modifyitems(items):
    """Begin with what takes longest: the tests on several cores then end together."""
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)
