import os
import re
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2dynamics.training import numerics

CANARY = """
import jax, jax.numpy as jnp, numpy as np
rows = np.random.default_rng(0).normal(size=(32_769, 3)).astype(np.float32)
norms = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2)))(rows)
np.testing.assert_allclose(norms, (rows.astype(np.float64) ** 2).sum(1), rtol=1e-5)
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    clean = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=clean | {"JAX_PLATFORMS": "cpu"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("size", [32_767, 32_768, 32_769, 65_537])
def test_vmapped_norms_are_right_in_this_process(size):
    rows = np.random.default_rng(size).normal(size=(size, 3)).astype(np.float32)
    norms = jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2)))(rows)
    np.testing.assert_allclose(norms, (rows.astype(np.float64) ** 2).sum(1), rtol=1e-5)


def test_vmapped_norms_are_right_in_a_fresh_process():
    done = python("from l2dynamics.training import numerics; numerics.configure()\n" + CANARY)
    assert done.returncode == 0, done.stderr[-2000:]


def test_flag_is_known_to_the_version_it_is_given_to():
    # XLA ends the process at an unknown flag when the first computation starts.
    done = python(
        "from l2dynamics.training import numerics; numerics.configure()\nimport jax; print(jax.numpy.ones(2).sum())"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "2.0"), done.stderr[-2000:]


@pytest.mark.parametrize(
    ("version", "before", "after"),
    [
        ("0.10.2", "", numerics.CPU_FUSION_FLAG),
        ("0.10.2+local", "", numerics.CPU_FUSION_FLAG),
        ("0.10.2", "--xla_a=1", f"--xla_a=1 {numerics.CPU_FUSION_FLAG}"),
        (
            "0.10.2",
            "--xla_cpu_experimental_ynn_fusion_type= --xla_a",
            "--xla_cpu_experimental_ynn_fusion_type= --xla_a",
        ),
        ("0.10.20", "", None),
        ("0.12.0", "", None),
        ("0.12.0", "--xla_a=1", "--xla_a=1"),
        (None, "", None),
    ],
)
def test_flag_goes_only_to_the_version_that_needs_it(monkeypatch, version, before, after):
    def installed(name):
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", installed)
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.setenv("XLA_FLAGS", before)
    numerics.configure()
    assert os.environ["XLA_FLAGS"] == (after or "")


def test_late_configuration_is_refused(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: "0.10.2")
    monkeypatch.setenv("XLA_FLAGS", "")
    with pytest.raises(RuntimeError, match="before jax is imported"):
        numerics.configure()


def test_configure_and_the_package_import_no_jax():
    code = "import sys; from l2dynamics.training import numerics; numerics.configure(); assert 'jax' not in sys.modules"
    done = python(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_compilation_cache_is_set_and_not_overridden(monkeypatch, tmp_path):
    # setenv first, so that monkeypatch removes the variables again.
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    numerics.configure(tmp_path / "first")
    numerics.configure(tmp_path / "second")
    assert Path(os.environ["JAX_COMPILATION_CACHE_DIR"]) == tmp_path / "first"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_server_of_the_workers_is_deaf_from_its_first_moment():
    """Ctrl-C goes to all processes: one that is importing jax would print a traceback."""
    done = python(
        "from multiprocessing import forkserver\n"
        "from pathlib import Path\n"
        "from l2dynamics.running import runtime\n"
        "runtime._serve('json')\n"
        "pid = forkserver._forkserver._forkserver_pid\n"
        "print(Path(f'/proc/{pid}/status').read_text())"
    )
    (blocked,) = re.findall(r"^SigBlk:\s+(\w+)$", done.stdout, flags=re.MULTILINE)
    for number in (signal.SIGINT, signal.SIGTERM):
        assert int(blocked, 16) >> (number - 1) & 1


WORKER = """
import os, tempfile
from multiprocessing import forkserver
from l2dynamics.running import processes, runtime
{before}
runtime._serve("json")
pool = processes.start(1)
assert pool.submit(os.getppid).result(60) != 0
print(runtime.start_method, tempfile.gettempdir())
"""
NO_PLACE = """
def mkdtemp(*_, **__): raise PermissionError("no place for a socket")
tempfile.mkdtemp = mkdtemp
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked from a server on Linux only")
@pytest.mark.parametrize(
    ("length", "before", "method"),
    [(0, "", "forkserver"), (110, "", "forkserver"), (110, NO_PLACE, "spawn")],
    ids=["short", "long", "no place"],
)
def test_workers_start_under_a_long_tmpdir(tmp_path, length, before, method):
    """The name of a socket has at most 107 bytes."""
    folder = tmp_path / ("t" * max(1, length - len(str(tmp_path))))
    folder.mkdir()
    done = python(WORKER.format(before=before), TMPDIR=str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == [method, str(folder)]
