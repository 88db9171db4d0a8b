"""Process set-up that must happen before jax is imported."""

import atexit
import gc
import multiprocessing
import os
import sys
import tempfile
from multiprocessing import forkserver

from l2dynamics import paths
from l2dynamics.running import affinity, interruption, memory
from l2dynamics.training import numerics

# Linux takes 107 bytes as the name of a socket; multiprocessing adds about 32 to the folder for temporary files.
_SOCKET_FOLDER = 70

start_method = "spawn"
"""How worker processes start; a stage on CPU forks them from a server that has imported what they need."""


def begin_stage(workers: str = "l2dynamics.running.train_job") -> None:
    """Set up the process of a stage: what a signal does, XLA's flags and the compilation cache ``work/xla``.

    Outside a checkout, and at flags that XLA does not know, it ends with one line.

    Args:
        workers: module that the worker processes need, imported while this process reads its parameters.
    """
    interruption.stop_at_once()  # a signal may come while jax is imported
    atexit.register(gc.freeze)  # a worker's end would look through all objects of jax once more
    try:
        root = paths.find_root()
        if multiprocessing.current_process().name == "MainProcess":
            numerics.check_flags()
        numerics.configure(paths.work(root) / "xla")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    memory.keep_freed()  # this process may be the one that trains
    if not affinity.accelerated() and len(affinity.cores()) > 1:
        _serve(workers)


def _serve(module: str) -> None:
    """Start the server that worker processes are forked from, on Linux.

    Its import of jax, and of no backend, is under way before the stage knows its jobs, and is the only one.
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
