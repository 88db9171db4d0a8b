"""Strict settings for every test; they must be made before jax is imported."""

from l2dynamics import runtime

runtime.configure()

import jax  # noqa: E402

jax.config.update("jax_numpy_dtype_promotion", "strict")


LONGEST = ("test_end_to_end", "test_tracking", "test_kills", "test_executors", "test_contributing")


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest: the tests on several cores then end together."""
    order = {name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
