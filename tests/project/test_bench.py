"""The benchmark for accelerators runs as printed, also where nothing but the numerical packages is installed.

The profile of a step attributes every operation, and its own time only.
"""

import json
import subprocess
import sys

import pytest
from places import ROOT

from bench import profile

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


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("jit(_step)/jvp(Cnn)/Conv_1/jit(_as_product)/io,ip->op/dot_general", 512, "forward"),
        ("jit(_step)/transpose(jvp(Cnn))/Conv_1/jit(_as_product)/io,ip->op/transpose", 512, "dx"),
        ("jit(_step)/transpose(jvp(Cnn))/Conv_1/jit(_as_product)/io,ip->op/transpose", 144, "dW"),
        ("jit(_step)/jvp(Cnn)/Conv_1/jit(_as_product)/concatenate", 144, "windows"),
        ("jit(_step)/transpose(jvp(Cnn))/BatchNorm_0/mul", 1, "batch norm, bias"),
        ("", 64, "batch norm, bias"),
        ("jit(_step)/jvp(Cnn)/Dense_0/io,ib->ob/dot_general", 1, "dense"),
        ("jit(_step)/jvp(Cnn)/jit(relu)/max", 1, "ReLU, pooling, sums"),
        ("jit(_step)/add", 144, "batch, update"),
    ],
)
def test_operations_belong_to_parts_of_the_step(name: str, size: int, expected: str) -> None:
    assert expected in profile.PARTS
    assert profile.part(name, size, frozenset({144})) == expected


def test_a_call_does_not_count_what_it_calls() -> None:
    def event(name: str, start: float, length: float, thread: int = 1) -> dict[str, object]:
        return {"ph": "X", "name": name, "ts": start, "dur": length, "tid": thread, "args": {"hlo_op": name}}

    calls = [
        event("call", 0, 10),
        event("dot", 1, 4),
        event("add", 5, 2),
        event("inner", 2, 1),
        event("dot", 10, 3),
    ]
    calls += [event("call", 3, 1, thread=2), {"ph": "X", "name": "python", "ts": 0, "dur": 99, "tid": 1}]
    assert profile.own_times(calls) == {"call": 5, "dot": 6, "add": 2, "inner": 1}


def test_the_profile_of_a_step_finds_its_products() -> None:
    code = "import sys; from bench import profile; sys.exit(profile.main(['cnn:4:14:8']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    head, values = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in done.stdout.splitlines()
        if line.startswith("| ")
    )
    shares = dict(zip(head, values, strict=True))
    assert shares["shape"] == "CNN, 4 channels, 14 × 14, batch 8"
    percents = [int(shares[name].removesuffix("%")) for name in profile.PARTS]
    assert sum(percents) == pytest.approx(100, abs=len(percents) / 2)
    assert all(
        share > 0
        for name, share in zip(profile.PARTS, percents, strict=True)
        if name in ("forward", "dx", "dW")
    )


@pytest.mark.parametrize("shape", ["mlp:4:14:8", "wrn:1:16", "cnn:a:b:c", "wrn:0:16:8"])
def test_an_unknown_shape_is_one_line(shape: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert profile.main([shape]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: a shape is kind:width:size:batch")
