"""Stops that lose nothing: SIGTERM and Ctrl-C end a stage within 30 seconds with one exit code and its state saved.

Whatever is on disk is complete at every moment (files are replaced, never rewritten), so that a stop needs no cleaning
up: training saves a checkpoint first because that saves time, and is cut off if that takes too long.
"""

import logging
import math
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType

log = logging.getLogger(__name__)
EXIT_CODE = 75
"""Exit code of a stage that was asked to stop (EX_TEMPFAIL): the same command goes on from what is saved."""
GRACE_SECONDS = 25.0
CHECKPOINT_VARIABLE = "L2DYNAMICS_CHECKPOINT_SECONDS"
CHECKPOINT_SECONDS = 15.0
"""Between two checkpoints of a run, unless the variable says otherwise."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """A stop was asked for; the state is saved and the same command goes on from it."""


class Failed(Exception):
    """Part of the work failed and the rest is stored; the message is one line that names what failed."""


def checkpoint_seconds() -> float:
    """Seconds between two checkpoints of a run: ``$L2DYNAMICS_CHECKPOINT_SECONDS`` or ``CHECKPOINT_SECONDS``.

    Raises:
        ValueError: the variable is not a number of seconds.
    """
    text = os.environ.get(CHECKPOINT_VARIABLE, "")
    try:
        seconds = float(text) if text else CHECKPOINT_SECONDS
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise ValueError(
            f"{CHECKPOINT_VARIABLE} is {text!r}: give a number of seconds, such as 15, or unset it"
        )
    return seconds


def stop_at_once() -> None:
    """From now on a signal ends this process with ``EXIT_CODE``: for what is saved as it goes."""

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        # No exception: raised inside a callback of the garbage collector or of XLA it would be swallowed.
        name = signal.Signals(number).name
        os.write(2, f"stopped: {name}; the same command goes on from what is saved\n".encode())
        _end()

    for number in _SIGNALS:
        signal.signal(number, end)


@contextmanager
def stop_on_signal() -> Iterator[Callable[[], bool]]:
    """SIGTERM and Ctrl-C ask for a stop, which the block looks up; a second Ctrl-C is an ordinary one."""
    asked = threading.Event()
    timers: list[threading.Timer] = []

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        if not asked.is_set():
            timers.append(_cut_off_later())
        asked.set()
        log.warning("stopping: saving checkpoints (signal %d)", number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    before = {number: signal.signal(number, ask) for number in _SIGNALS}
    try:
        yield asked.is_set
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Processes started in this block never see SIGTERM or Ctrl-C, which are the parent's business."""
    # multiprocessing starts its tracker before its first process, and unblocks both signals when it has.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cut_off_later() -> threading.Timer:
    """End this process and its workers if it has not ended by itself, as in a compilation of minutes."""

    def cut_off() -> None:
        print(
            f"stopped: no end within {GRACE_SECONDS:.0f} s; the same command goes on from the last checkpoint",
            file=sys.stderr,
            flush=True,
        )
        _end()

    timer = threading.Timer(GRACE_SECONDS, cut_off)
    timer.daemon = True
    timer.start()
    return timer


def _end() -> None:
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(EXIT_CODE)
