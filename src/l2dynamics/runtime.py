"""Process set-up that must happen before jax is imported."""

import os
import sys
from pathlib import Path

# jaxlib 0.10.2 on CPU miscompiles a vmapped sum((M @ r) ** 2) with the default fusion types (jax issue 39103):
# tests/test_runtime.py holds the canary.
CPU_FUSION_FLAG = "--xla_cpu_experimental_ynn_fusion_type=individual_dot"


def configure(cache: Path | None = None) -> None:
    """Set the XLA flags and the persistent compilation cache of this process and of its children.

    Args:
        cache: folder of the persistent compilation cache; None leaves it off.

    Raises:
        RuntimeError: jax was imported before and the flag is not set, so that it could not take effect.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_experimental_ynn_fusion_type" not in flags:
        if "jax" in sys.modules:
            raise RuntimeError("l2dynamics.runtime.configure() must be called before jax is imported")
        os.environ["XLA_FLAGS"] = f"{flags} {CPU_FUSION_FLAG}".strip()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if cache is not None:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
