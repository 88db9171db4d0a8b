"""Process set-up that must happen before jax is imported."""

import atexit
import gc
import multiprocessing
import os
import sys
import tempfile
from importlib import metadata
from multiprocessing import forkserver
from pathlib import Path

from l2dynamics import affinity, interruption, paths

# jaxlib 0.10.2 on CPU miscompiles a vmapped sum((M @ r) ** 2) with the default fusion types (jax issue
# 39103); 0.9.2 to 0.10.1 and 0.11.0 to 0.12.0 are right without a flag. XLA aborts the process at a flag it
# does not know, so that the flag goes only to the version that needs it. tests/test_runtime.py holds the
# canary for all others.
CPU_FUSION_FLAG = "--xla_cpu_experimental_ynn_fusion_type=individual_dot"
_MISCOMPILING = ("0.10.2",)

# Linux takes 107 bytes as the name of a socket; multiprocessing adds about 32 to the folder for temporary files.
_SOCKET_FOLDER = 70

start_method = "spawn"
"""How worker processes start; a stage on CPU forks them from a server that has imported what they need."""


def required_flags() -> tuple[str, ...]:
    """Return the XLA flags that the installed jaxlib needs for right results, without importing it."""
    try:
        version = metadata.version("jaxlib").partition("+")[0]
    except metadata.PackageNotFoundError:
        return ()
    return (CPU_FUSION_FLAG,) if version in _MISCOMPILING else ()


def begin_stage(cache: str = "xla", workers: str = "l2dynamics.training") -> None:
    """Set up the process of a stage: what a signal does, XLA's flags and the compilation cache ``work/<cache>``.

    Outside a checkout it ends with one line.

    Args:
        cache: folder of the compilation cache.
        workers: module that the worker processes need, imported while this process reads its parameters.
    """
    interruption.stop_at_once()  # importing jax takes seconds
    atexit.register(
        gc.freeze
    )  # a worker's end would look through all objects of jax once more: half a second
    try:
        configure(paths.work(paths.find_root()) / cache)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if not affinity.accelerated() and len(affinity.cores()) > 1:
        _serve(workers)


def _serve(module: str) -> None:
    """Start the server that worker processes are forked from, on Linux.

    Its import of jax, and of no backend, is under way before the stage knows its jobs, and is the only one: a stage
    whose runs are all trained takes 3.8 s, against 5.1 s with workers that each import it.
    """
    global start_method
    if sys.platform != "linux" or multiprocessing.current_process().name != "MainProcess":
        return  # in a worker, whose main module is the stage again, there is a server already
    multiprocessing.set_forkserver_preload([module])
    before = tempfile.tempdir
    try:
        if len(os.fsencode(tempfile.gettempdir())) > _SOCKET_FOLDER:
            tempfile.tempdir = "/tmp"
        with interruption.signals_blocked():  # workers are deaf to Ctrl-C from the first moment
            forkserver.ensure_running()
    except OSError:
        return  # there is no place for its socket
    finally:
        tempfile.tempdir = before
    start_method = "forkserver"


def configure(cache: Path | None = None) -> None:
    """Set the XLA flags and the persistent compilation cache of this process and of its children.

    A value that is already in the environment wins.

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
            raise RuntimeError("l2dynamics.runtime.configure() must be called before jax is imported")
        os.environ["XLA_FLAGS"] = " ".join([*flags, *missing])
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if cache is not None:
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
