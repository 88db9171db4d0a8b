"""Memory that a process which trains has freed stays with it."""

import ctypes
import sys

# <malloc.h> of glibc.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_LARGEST = 2**31 - 1


def keep_freed() -> bool:
    """Have glibc take all memory from one heap and keep what is freed; elsewhere do nothing.

    XLA on CPU allocates the activations of a step anew in every step. Blocks of this size glibc maps, and unmaps when
    freed, so that the kernel zeroes every page again, of a network of 64 channels a third of the step's time.

    Returns:
        Whether it does.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    wanted = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST))
    return all(mallopt(ctypes.c_int(name), ctypes.c_int(value)) for name, value in wanted)
