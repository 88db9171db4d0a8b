import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import synthetic
from places import ROOT

from l2dynamics.results import tables

STAGE = ROOT / "stages" / "track.py"


def checkout(root: Path) -> Path:
    root.mkdir()
    for marker in ("dvc.yaml", "params.yaml"):
        (root / marker).write_text("scale: laptop\n")
    table = synthetic.grid((0.1,), (0.0, 0.1), (0,), horizon=2.0, points=8)
    tables.write(synthetic.results("fc", table), root)
    return root


def track(root: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "L2DYNAMICS_"))}
    return subprocess.run(
        [sys.executable, str(STAGE)], cwd=root, env=environment | variables, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = checkout(tmp_path_factory.mktemp("stage") / "first")
    done = track(root)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "MLflow: 3 runs logged, 0 were complete, 0 removed\n"
    assert done.stderr == ""
    return root


def test_receipt_holds_the_hash_alone_and_a_copied_checkout_has_the_same(
    tracked: Path, tmp_path: Path
) -> None:
    receipt = (tracked / "mlflow/receipt.json").read_bytes()
    assert list(json.loads(receipt)) == ["synced_sha256"]
    other = checkout(tmp_path / "second")
    (other / "mlflow").mkdir()
    shutil.copy(tracked / "mlflow/mlflow.db", other / "mlflow")
    again = track(other)
    assert again.stdout == "MLflow: 0 runs logged, 3 were complete, 0 removed\n"
    assert (other / "mlflow/receipt.json").read_bytes() == receipt


def test_nothing_is_written_beside_the_store(tracked: Path) -> None:
    assert {p.name for p in tracked.iterdir()} == {"dvc.yaml", "params.yaml", "results", "mlflow"}


def test_dead_server_is_one_line_and_no_receipt(tmp_path: Path) -> None:
    root = checkout(tmp_path / "work")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    done = track(root, MLFLOW_TRACKING_URI=f"http://me:hunter2@127.0.0.1:{port}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Connection refused" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert not (root / "mlflow/receipt.json").exists()


def test_damaged_results_are_named(tracked: Path, tmp_path: Path) -> None:
    root = checkout(tmp_path / "work")
    (root / "mlflow").mkdir()
    shutil.copy(tracked / "mlflow/mlflow.db", root / "mlflow")
    with (root / "results/laptop/fc.csv").open("a") as file:
        file.write("0")
    done = track(root)
    assert done.returncode == 2
    assert done.stderr.startswith("results/laptop/fc.csv is damaged")
    assert done.stderr.count("\n") == 1
    assert not (root / "mlflow/receipt.json").exists()
