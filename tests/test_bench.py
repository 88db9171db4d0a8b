"""The benchmark for accelerators runs as printed, also where nothing but the numerical packages is installed."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
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
