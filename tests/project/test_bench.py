"""The benchmark for accelerators runs as printed, also where nothing but the numerical packages is installed."""

import json
import subprocess
import sys

import pytest
from places import ROOT

_WITHOUT = """
import runpy, sys
for name in ("mlflow", "dvc", "tensorflow_datasets", "array_record", "pandas", "matplotlib", "torch"):
    sys.modules[name] = None
sys.argv = ["bench.accelerator", "--tiny"]
runpy.run_module("bench.accelerator", run_name="__main__")
"""


def test_accelerator_benchmark_needs_no_pipeline_and_one_program_per_row() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT], cwd=ROOT, check=True, capture_output=True, text=True
    )
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [(row["work"], row["precision"], row.get("bucket")) for row in rows] == [
        (work, precision, bucket)
        for precision in ("bfloat16", "float32")
        for work, bucket in (("WRN-28-10", None), ("FC", 1), ("FC", 4))
    ]
    assert {row["programs"] for row in rows} == {1}
    assert "PyTorch is not installed: no comparison" in done.stdout


_PRECISION = """
import sys
from bench import __main__ as bench, precision
precision.SCALE = "smoke"
sys.argv = ["bench", "precision"]
bench.main()
"""


def test_the_benchmark_sets_flags_before_jax_is_imported() -> None:
    code = "import sys, bench.__main__; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.slow
def test_the_benchmark_trains_in_both_precisions() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PRECISION], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert [row.split("|")[1].split(",")[0].split(":")[0].strip() for row in rows] == [
        text for name in ("fc", "cnn", "wrn") for text in (f"c of {name}", f"best accuracy of {name}")
    ]
    assert "nan" not in done.stdout
