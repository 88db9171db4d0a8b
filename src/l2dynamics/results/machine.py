"""Where numbers were made: commit, versions, flags and cores, as they stand in every passport."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from l2dynamics import __version__

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def versions(*others: str) -> dict[str, str]:
    """Versions of Python, of the packages that all results depend on, and of ``others``."""
    found = {name: importlib.metadata.version(name) for name in (*_PACKAGES, *others)}
    return {"python": platform.python_version(), **found, "l2dynamics": __version__}


def describe(root: Path, *others: str) -> dict[str, Any]:
    """Commit of the checkout, versions (see :func:`versions`), XLA's flags and number of cores."""
    return {
        "git_commit": _git_commit(root),
        "versions": versions(*others),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
    }


def device() -> str:
    """The device that jax computes on, e.g. ``cpu: cpu``."""
    import jax

    found = jax.devices()[0]
    return f"{found.platform}: {found.device_kind}"


def _git_commit(root: Path) -> str:
    try:
        return subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, check=True, capture_output=True, text=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
