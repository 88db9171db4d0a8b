"""What a long stage says while it runs and at its end."""

import logging
from pathlib import Path

import pandas as pd
import pytest
import synthetic

from l2dynamics.pipeline import training_stage
from l2dynamics.running import logs, progress
from l2dynamics.running.events import Event


@pytest.fixture
def package_log():
    """The package's logger; its handlers and level are put back afterwards."""
    logger = logging.getLogger("l2dynamics")
    before = logger.level, logger.propagate, logger.handlers[:]
    yield logger
    for handler in set(logger.handlers) - set(before[2]):
        handler.close()
    logger.level, logger.propagate, logger.handlers[:] = before


@pytest.mark.parametrize(
    ("words", "variable", "shown"),
    [
        (["fc"], "", "careful\n"),
        (["--verbose", "fc"], "", "a detail\ncareful\n"),
        (["fc", "--verbose"], "", "a detail\ncareful\n"),
        (["fc"], "1", "a detail\ncareful\n"),
        (["fc"], "0", "careful\n"),
    ],
)
def test_everything_is_in_the_log_and_on_the_terminal_what_was_asked_for(
    tmp_path, monkeypatch, capsys, package_log, words, variable, shown
):
    monkeypatch.setenv(logs.VERBOSE, variable)
    for _ in range(2):  # a second call in one process doubles nothing
        argv = ["stages/sweep.py", *words]
        file = logs.configure(tmp_path, argv)
    assert argv == ["stages/sweep.py", "fc"]
    assert file == tmp_path / "work" / "logs" / "sweep@fc.log"
    package_log.getChild("any").debug("a detail")
    package_log.warning("careful")
    assert capsys.readouterr().err == shown
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [line.split(maxsplit=2)[2] for line in lines] == ["DEBUG a detail", "WARNING careful"]


def test_without_a_terminal_one_line_a_minute(monkeypatch, capsys, caplog):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    caplog.set_level(logging.INFO, logger="l2dynamics")
    with progress.StageProgress("sweep@fc", 3, 3000) as said:
        for second in range(1, 181):
            clock[0] = float(second)
            said(Event("job", 10, 0.5 + second / 1000, 0.01, second % 60 == 0))
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 3
    assert lines[0].startswith("sweep@fc: 20%, 1/3 ")
    assert "10 steps/s, best 0.561, λ 0.01" in lines[0]
    assert lines[0].endswith("s left")
    assert len(caplog.messages) == 3
    assert caplog.messages[-1].startswith("sweep@fc: job finished (3/3 ")


def test_a_stage_ends_with_what_it_did_the_best_run_and_where_to_look():
    rows = [synthetic.run_rows(eta=0.15, l2=l2, seed=0, budget=100, noise=0.0) for l2 in (0.1, 0.01)]
    table = pd.concat(rows, ignore_index=True)
    done, best, look = training_stage.summary("sweep@fc", synthetic.results("fc", table, run_steps=12345))
    assert done.startswith("sweep@fc: 2 runs, 12,345 steps, ")
    row = table.loc[table["test_accuracy"].idxmax()]
    assert f"{row['test_accuracy']:.4f}" in best
    assert best.endswith(row["run"])
    assert look == "look: results/laptop/fc.csv and .json; figures: `dvc repro`; runs: `make ui`"
    diverged = table.assign(test_accuracy=float("nan"))
    assert (
        "every run diverged" in training_stage.summary("s", synthetic.results("fc", diverged, run_steps=1))[1]
    )


def test_a_stage_refuses_bad_input_in_one_line_and_logs_it(tmp_path, monkeypatch, capsys, package_log):
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "params.yaml").write_text("scale: laptop\n")
    monkeypatch.setenv("L2DYNAMICS_ROOT", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["stages/sweep.py", "fc"])

    def stage(root: Path) -> None:
        raise ValueError("eta: must be positive")

    with pytest.raises(SystemExit, match="2"):
        training_stage.main(stage)
    assert capsys.readouterr().err == "error: eta: must be positive\n"
    assert "failed: eta: must be positive" in (tmp_path / "work/logs/sweep@fc.log").read_text()
