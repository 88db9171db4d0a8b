"""Strict settings for every test; they must be made before jax is imported."""

import atexit
import os
import shutil
import sys
import tempfile
import types
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as stages have it, see stages/checkout.py

from l2dynamics.training import numerics

# What one test compiled the others load, in this process, in those of pytest-xdist and in those that tests start.
if "JAX_COMPILATION_CACHE_DIR" in os.environ:
    numerics.configure()
else:
    cache = Path(tempfile.mkdtemp(prefix="l2dynamics-tests-"))
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    numerics.configure(cache)

import jax

jax.config.update("jax_numpy_dtype_promotion", "strict")

# Stages that tests load as modules run the package that the tests run.
sys.modules["checkout"] = types.ModuleType("checkout")


LONGEST = ("test_end_to_end", "test_tracking", "test_kills", "test_executors", "test_contributing")


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest: the tests on several cores then end together."""
    order = {name: index for index, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
