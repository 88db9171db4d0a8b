"""What a user's shell says of JAX: pinned, or part of a run's key and of its passport; other devices are one line."""

import os
import subprocess
import sys

import guides
import pytest

from l2dynamics.results import machine
from l2dynamics.training import numerics

ASK = """
from l2dynamics.training import numerics
numerics.configure()
import jax
print(jax.config.{name}, jax.device_count())
"""


def asked(name, **environment):
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(name=name)],
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("variable", "value", "option"),
    [
        ("JAX_ENABLE_X64", "1", "jax_enable_x64"),
        ("JAX_THREEFRY_PARTITIONABLE", "0", "jax_threefry_partitionable"),
        ("JAX_NUM_CPU_DEVICES", "2", "jax_num_cpu_devices"),
        ("JAX_DEFAULT_MATMUL_PRECISION", "bfloat16", "jax_default_matmul_precision"),
        ("JAX_DISABLE_JIT", "1", "jax_disable_jit"),
        ("JAX_NUMPY_DTYPE_PROMOTION", "strict", "jax_numpy_dtype_promotion"),
    ],
)
def test_settings_that_numbers_depend_on_are_pinned(variable, value, option):
    assert variable in numerics.PINNED
    assert asked(option, **{variable: value}) == asked(option)


@pytest.mark.parametrize(
    ("variable", "counts"),
    [
        ("XLA_FLAGS", True),
        ("JAX_SOMETHING_NEW", True),
        ("NVIDIA_TF32_OVERRIDE", True),
        ("LIBTPU_INIT_ARGS", True),
        ("JAX_COMPILATION_CACHE_DIR", False),
        ("JAX_LOGGING_LEVEL", False),
        ("JAX_PLATFORMS", False),
        ("XLA_PYTHON_CLIENT_PREALLOCATE", False),
        ("HOME", False),
    ],
)
def test_what_is_not_pinned_is_recorded_unless_it_changes_no_number(variable, counts, monkeypatch):
    monkeypatch.setenv(variable, "anything")
    assert (machine.environment().get(variable) == "anything") == counts


def test_the_processor_is_named():
    model, *rest = machine.processor().rpartition(", ")
    assert model or rest[-1]


def test_a_device_that_is_not_there_is_one_line(tmp_path):
    copy = guides.copy_of_the_checkout(tmp_path)
    environment = {**os.environ, "JAX_PLATFORMS": "cuda", "L2DYNAMICS_TRACKING": "off"}
    for words in (("stages/data.py", "mnist"), ("stages/sweep.py", "fc")):
        done = subprocess.run(
            [sys.executable, *words], cwd=copy, env=environment, capture_output=True, text=True, timeout=300
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: JAX_PLATFORMS=cuda: ")
    assert len(done.stderr.splitlines()) == 1
