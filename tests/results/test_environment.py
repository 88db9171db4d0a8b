"""What a user's shell says of JAX, XLA, git and folders: pinned, recorded, or one line."""

import os
import shutil
import subprocess
import sys

import guides
import pytest

from l2dynamics import paths
from l2dynamics.data import records
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
        ("OPENBLAS_CORETYPE", True),
        ("NPY_DISABLE_CPU_FEATURES", True),
        ("OMP_NUM_THREADS", False),
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


@pytest.mark.skipif(not shutil.which("lscpu"), reason="lscpu is the second opinion")
def test_the_processor_is_named():
    done = subprocess.run(["lscpu"], env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True)
    said = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    model, flags = said["Model name"].strip(), said["Flags"].split()
    widest = next(name for name in ("avx512f", "avx2", "sve", "asimd", "") if name in flags or not name)
    assert machine.processor() == ", ".join(filter(None, [model, widest]))


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


def test_a_flag_that_xla_does_not_know_is_one_line(tmp_path):
    copy = guides.copy_of_the_checkout(tmp_path)
    environment = {**os.environ, "XLA_FLAGS": "--xla_no_such_flag=1", "L2DYNAMICS_TRACKING": "off"}
    for words in (("stages/sweep.py", "fc"), ("stages/theory.py",)):
        done = subprocess.run(
            [sys.executable, *words], cwd=copy, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 2
        assert done.stderr.startswith("error: XLA_FLAGS=--xla_no_such_flag=1: XLA does not know ")
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("variable", ["TFDS_DATA_DIR", "L2DYNAMICS_ROOT"])
def test_a_folder_may_begin_with_a_home(variable, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, "~/there")
    find = {"TFDS_DATA_DIR": lambda: records.data_dir("tfds", None), "L2DYNAMICS_ROOT": paths.find_root}[
        variable
    ]
    assert find() == tmp_path / "there"
    monkeypatch.setenv(variable, "~nobody-of-this-name/there")
    with pytest.raises(ValueError, match=f"^{variable}: ~nobody.*no such home folder"):
        find()


def git(folder, *words):
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repositories(tmp_path):
    """Two repositories with a commit each, and a worktree of the first."""
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
        git(tmp_path / name, "init", "-q")
        git(tmp_path / name, "commit", "-q", "--allow-empty", "-m", name)
    git(tmp_path / "own", "worktree", "add", "-q", "--detach", str(tmp_path / "tree é"))
    return tmp_path


@pytest.mark.parametrize(
    ("folder", "environment", "own"),
    [
        ("own", {}, True),
        ("tree é", {}, True),
        ("own", {"GIT_DIR": "other/.git"}, True),
        ("own", {"GIT_WORK_TREE": "other", "GIT_DIR": "other/.git"}, True),
        ("own", {"GIT_CEILING_DIRECTORIES": "."}, True),
        ("tree é", {"LC_ALL": "C"}, True),
        ("other/copy without git", {}, False),
        ("own/copy without git", {}, False),
        ("other/copy without git", {"GIT_DIR": "own/.git"}, False),
    ],
)
def test_the_commit_is_that_of_the_checkout_or_unknown(folder, environment, own, repositories, monkeypatch):
    (repositories / folder).mkdir(exist_ok=True)
    commit = git(repositories / "own", "rev-parse", "HEAD")
    for name, value in environment.items():
        monkeypatch.setenv(name, value if name == "LC_ALL" else str(repositories / value))
    assert machine.describe(repositories / folder)["git_commit"] == (commit if own else "unknown")
