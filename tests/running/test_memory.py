"""What glibc does with freed memory, counted in page faults."""

import subprocess
import sys

import pytest

MEASURE = """
import ctypes, resource, sys

# <linux/prctl.h> PR_SET_THP_DISABLE: with huge pages one fault serves 512 pages, as many as the kernel has to spare.
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)
import numpy as np
from l2dynamics.running import memory

if sys.argv[1] == "keep":
    assert memory.keep_freed()

def step():
    for size in (40, 70, 20):
        np.ones(size << 18, np.float32)

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode):
    done = subprocess.run([sys.executable, "-c", MEASURE, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_memory_that_was_freed_is_used_again_without_page_faults():
    assert faults("keep") < 100
    assert faults("leave") > 50_000


def test_other_systems_are_left_alone(monkeypatch):
    from l2dynamics.running import memory

    monkeypatch.setattr(sys, "platform", "darwin")
    assert not memory.keep_freed()
