"""What numbers depend on besides code and parameters: XLA's flags and JAX's settings, set before jax is imported."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

# jaxlib 0.10.2 on CPU miscompiles a vmapped sum((M @ r) ** 2) with the default fusion types (jax issue
# 39103); 0.9.2 to 0.10.1 and 0.11.0 to 0.12.0 are right without a flag. XLA aborts the process at a flag it
# does not know, so that the flag goes only to the version that needs it. tests/running/test_runtime.py holds the
# canary for all others.
CPU_FUSION_FLAG = "--xla_cpu_experimental_ynn_fusion_type=individual_dot"
_MISCOMPILING = ("0.10.2",)
PINNED = {
    "JAX_DEFAULT_DTYPE_BITS": None,
    "JAX_DEFAULT_MATMUL_PRECISION": None,
    "JAX_DEFAULT_PRNG_IMPL": None,
    "JAX_DISABLE_JIT": None,
    "JAX_DISABLE_MOST_OPTIMIZATIONS": None,
    "JAX_ENABLE_X64": "0",
    "JAX_NUM_CPU_DEVICES": None,
    "JAX_NUMPY_DTYPE_PROMOTION": None,
    "JAX_NUMPY_RANK_PROMOTION": None,
    "JAX_THREEFRY_PARTITIONABLE": "1",
}
"""Settings of JAX that are the same in every training, whatever the user's shell says; None: JAX's own default.

What else may change numbers is part of a run's key and of the passport: :func:`l2dynamics.results.machine.environment`.
"""


def required_flags() -> tuple[str, ...]:
    """Return the XLA flags that the installed jaxlib needs for right results, without importing it."""
    try:
        version = metadata.version("jaxlib").partition("+")[0]
    except metadata.PackageNotFoundError:
        return ()
    return (CPU_FUSION_FLAG,) if version in _MISCOMPILING else ()


def check_flags() -> None:
    """Have a process of its own read the user's ``XLA_FLAGS``: XLA aborts at a flag that it does not know.

    Raises:
        ValueError: it did.
    """
    if not (flags := os.environ.get("XLA_FLAGS", "").strip()):
        return
    done = subprocess.run(
        [sys.executable, "-c", "import jax; jax.numpy.zeros(1).block_until_ready()"],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        errors="replace",
    )
    if found := re.search(r"Unknown flags? in XLA_FLAGS: *([^\n]*)", done.stderr):
        raise ValueError(f"XLA_FLAGS={flags}: XLA does not know {found[1].strip()}: correct or unset it")


def configure(cache: Path | None = None) -> None:
    """Set XLA's flags, JAX's settings and the persistent compilation cache of this process and of its children.

    Of the flags and of the cache a value that is already in the environment wins; :data:`PINNED` settings do not.

    Args:
        cache: folder of the persistent compilation cache; None leaves it off.

    Raises:
        RuntimeError: a flag is needed and jax was imported before, so that it might not take effect.
    """
    flags = os.environ.get("XLA_FLAGS", "").split()
    present = {flag.partition("=")[0] for flag in flags}
    missing = [flag for flag in required_flags() if flag.partition("=")[0] not in present]
    if missing:
        if "jax" in sys.modules:
            raise RuntimeError(
                "l2dynamics.training.numerics.configure() must be called before jax is imported"
            )
        os.environ["XLA_FLAGS"] = " ".join([*flags, *missing])
    for name, value in PINNED.items():
        if name == "JAX_NUM_CPU_DEVICES" and "L2DYNAMICS_DISTRIBUTED" in os.environ:
            continue  # a run over several hosts is meant to have more of them
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if cache is not None:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
