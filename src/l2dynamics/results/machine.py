"""Where numbers were made: commit, versions, flags and cores, as they stand in every passport."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from l2dynamics import __version__

_NUMERICAL = (
    "JAX_",
    "XLA_",
    "LIBTPU_",
    "TF_XLA_",
    "CUBLAS_",
    "CUDNN_",
    "NVIDIA_TF32_OVERRIDE",
    # Of NumPy, whose linear algebra is that of the theory; how many threads it has is not among them.
    "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "MKL_CBWR",
)
_WITHOUT_NUMBERS = (
    "JAX_COMPILATION_CACHE",
    "JAX_COORDINATOR",
    "JAX_DEBUG_LOG",
    "JAX_ENABLE_COMPILATION_CACHE",
    "JAX_EXPLAIN",
    "JAX_LOG",
    "JAX_NUM_CPU_DEVICES",  # of a run over several hosts, which may go on with any number of devices; pinned else
    "JAX_PERSISTENT_CACHE",
    "JAX_PLATFORMS",  # the passport has the device, the key whether it is an accelerator
    "JAX_PROCESS_ID",
    "JAX_RAISE_PERSISTENT_CACHE",
    "JAX_TRACEBACK",
    "XLA_PYTHON_CLIENT",
)
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def versions(*others: str) -> dict[str, str]:
    """Versions of Python, of the packages that all results depend on, and of ``others``."""
    found = {name: importlib.metadata.version(name) for name in (*_PACKAGES, *others)}
    return {"python": platform.python_version(), **found, "l2dynamics": __version__}


def environment() -> dict[str, str]:
    """Environment variables of JAX, XLA and NumPy that may change numbers; what cannot is left out."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if value and name.startswith(_NUMERICAL) and not name.startswith(_WITHOUT_NUMBERS)
    }


def processor() -> str:
    """Model of the processor and its widest vectors: on CPU the last bits of sums depend on them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    found = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
    flags = found.get("flags", found.get("Features", "")).split()
    widest = next((name for name in ("avx512f", "avx2", "sve", "asimd") if name in flags), "")
    return ", ".join(filter(None, [found.get("model name", platform.machine()), widest]))


def describe(root: Path, *others: str) -> dict[str, Any]:
    """Commit of the checkout, versions (see :func:`versions`), XLA's flags, environment, processor, number of cores."""
    return {
        "git_commit": _git_commit(root),
        "versions": versions(*others),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "environment": environment(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
    }


def device() -> str:
    """The device that jax computes on."""
    import jax

    found = jax.devices()[0]
    return f"{found.platform}: {processor() if found.platform == 'cpu' else found.device_kind}"


def _git_commit(root: Path) -> str:
    # A hook of git names its own repository in GIT_DIR, and git takes any folder above for the repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        top, commit = subprocess.run(
            ["git", "rev-parse", "--show-toplevel", "HEAD"],
            cwd=root,
            env=environment,
            check=True,
            capture_output=True,
            encoding=sys.getfilesystemencoding(),
            errors=sys.getfilesystemencodeerrors(),
        ).stdout.splitlines()
        return commit if Path(top).samefile(root) else "unknown"
    except (OSError, ValueError, subprocess.CalledProcessError):
        return "unknown"
