import errno
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import synthetic

from l2dynamics.results import tables
from l2dynamics.results.tables import Results, ResultsError


def fake(name: str = "fc", *, seeds: Sequence[int] = (0,), **extra: Any) -> Results:
    table = synthetic.grid((0.1, 0.5), (0.0, 0.01, 0.1), seeds, horizon=2.0)
    return synthetic.results(name, table, **extra)


def test_round_trip_is_exact(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    written = fake(seeds=(0, 1))
    written.table.loc[3:9, list(tables.METRICS)] = np.nan
    written.table["test_loss"] *= 10.0 ** rng.uniform(-300, 300, len(written.table))
    tables.write(written, tmp_path)
    read = tables.load("fc", tmp_path)
    pd.testing.assert_frame_equal(read.table, written.table, check_exact=True)
    assert tuple(read.table.columns) == tables.COLUMNS
    checksum = hashlib.sha256((tmp_path / "results/laptop/fc.csv").read_bytes()).hexdigest()
    assert read.passport == written.passport | {"csv_sha256": checksum}


def test_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    results = fake()
    tables.write(results, first)
    tables.write(tables.load("fc", first), second)
    for name in ("fc.csv", "fc.json"):
        assert (first / "results" / "laptop" / name).read_bytes() == (
            second / "results" / "laptop" / name
        ).read_bytes()


def test_float32_metrics_survive(tmp_path: Path) -> None:
    results = fake()
    table = results.table.astype({"test_loss": "float32"})
    tables.write(replace(results, table=table), tmp_path)
    back = tables.load("fc", tmp_path).table["test_loss"].to_numpy().astype(np.float32)
    np.testing.assert_array_equal(back, table["test_loss"].to_numpy())


def test_columns_are_put_in_order_and_extra_ones_come_last(tmp_path: Path) -> None:
    results = fake("measure_c")
    table = results.table.assign(setup="fc")[["setup", *reversed(tables.COLUMNS)]]
    tables.write(replace(results, table=table), tmp_path)
    header = (tmp_path / "results/laptop/measure_c.csv").read_text().splitlines()[0]
    assert header == ",".join([*tables.COLUMNS, "setup"])
    assert tables.load("measure_c", tmp_path).table["setup"].eq("fc").all()


@pytest.mark.parametrize("word", ["null", "NA", "nan", "007", "a,b", 'say "x"', "true", "η=0.1"])
def test_text_stays_text(tmp_path: Path, word: str) -> None:
    results = fake()
    results = replace(results, table=results.table[results.table["run"] == results.table["run"][0]])
    tables.write(replace(results, table=results.table.assign(run=word, group=word)), tmp_path)
    table = tables.load("fc", tmp_path).table
    assert set(table["run"]) == {word}
    assert set(table["group"]) == {word}


def test_passport_takes_numpy_values_and_stays_strict_json(tmp_path: Path) -> None:
    extra = {"c": np.float32(0.5), "low": float("nan"), "grid": np.arange(3), "shape": (np.int64(2), 3)}
    tables.write(fake(**extra), tmp_path)
    text = (tmp_path / "results/laptop/fc.json").read_text()
    assert "NaN" not in text
    assert {k: json.loads(text)[k] for k in extra} == {
        "c": 0.5,
        "low": None,
        "grid": [0, 1, 2],
        "shape": [2, 3],
    }


def _drop_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def _flip_digit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"0.1,", b"0.2,", 1))


def _convert_line_ends(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def _convert_and_flip(path: Path) -> None:
    _convert_line_ends(path)
    _flip_digit(path)


def _without_column(path: Path) -> None:
    content = path.read_bytes().replace(b"l2_norm", b"norm", 1)
    path.write_bytes(content)
    passport = json.loads(path.with_suffix(".json").read_bytes())
    passport["csv_sha256"] = hashlib.sha256(content).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(passport))


@pytest.mark.parametrize(
    ("suffix", "damage", "message"),
    [
        (".csv", Path.unlink, r"results/laptop/fc\.csv is missing: run `dvc repro sweep@fc`"),
        (".json", Path.unlink, r"results/laptop/fc\.json is missing: run `dvc repro sweep@fc`"),
        (".csv", _drop_byte, r"results/laptop/fc\.csv is damaged: its checksum .* run `dvc repro sweep@fc`"),
        (".csv", _flip_digit, r"results/laptop/fc\.csv is damaged: its checksum"),
        (
            ".csv",
            _convert_line_ends,
            r"results/laptop/fc\.csv is damaged: line endings .*`git config core\.autocrlf false ",
        ),
        (
            ".csv",
            _convert_and_flip,
            r"results/laptop/fc\.csv is damaged: its checksum .* run `dvc repro sweep@fc`",
        ),
        (".csv", _without_column, r"results/laptop/fc\.csv is damaged: column l2_norm is missing"),
        (".json", _drop_byte, r"results/laptop/fc\.json is damaged: it is not JSON"),
        (
            ".json",
            lambda p: p.write_text("[]"),
            r"results/laptop/fc\.json is damaged: it is not a JSON object",
        ),
        (
            ".json",
            lambda p: p.write_bytes(b"\xff\xfe{"),
            r"results/laptop/fc\.json is damaged: it is not JSON",
        ),
    ],
)
def test_damage_is_named_in_one_line(tmp_path: Path, suffix: str, damage: object, message: str) -> None:
    tables.write(fake(), tmp_path)
    damage(tmp_path / f"results/laptop/fc{suffix}")  # type: ignore[operator]
    with pytest.raises(ResultsError, match=message) as caught:
        tables.load("fc", tmp_path)
    assert "\n" not in str(caught.value)


def test_killed_between_the_two_files_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.write(fake(seeds=(0,)), tmp_path)
    real = tables.replace

    def dies_at_the_passport(path: Path, content: bytes) -> None:
        if path.suffix == ".json":
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(tables, "replace", dies_at_the_passport)
    with pytest.raises(KeyboardInterrupt):
        tables.write(fake(seeds=(1,)), tmp_path)
    with pytest.raises(ResultsError, match="checksum"):
        tables.load("fc", tmp_path)


def test_full_disk_leaves_the_previous_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.write(fake(seeds=(0,)), tmp_path)
    before = tables.load("fc", tmp_path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*fc\.csv"):
        tables.write(fake(seeds=(1,)), tmp_path)
    monkeypatch.undo()
    pd.testing.assert_frame_equal(tables.load("fc", tmp_path).table, before.table)
    assert sorted(p.name for p in (tmp_path / "results/laptop").iterdir()) == ["fc.csv", "fc.json"]


def test_malformed_tables_are_refused(tmp_path: Path) -> None:
    good = fake()
    table = good.table
    for wrong, message in [
        (table.drop(columns="l2_norm"), "column l2_norm is missing"),
        (table.iloc[:0], "no rows"),
        (table.iloc[::-1], "steps of a run must increase"),
        (pd.concat([table, table]), "rows of one run must follow each other"),
    ]:
        with pytest.raises(ResultsError, match=message):
            tables.write(replace(good, table=wrong), tmp_path)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["../secret", "a/b", "", ".hidden", "a b", "fc\n"])
def test_names_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ResultsError, match="letters, digits"):
        tables.load(name, tmp_path)


def test_names_lists_the_long_tables(tmp_path: Path) -> None:
    assert tables.names(tmp_path) == []
    for name in ("wrn_aug", "fc"):
        tables.write(fake(name), tmp_path)
    (tmp_path / "results/laptop/theory.json").write_text("{}")
    assert tables.names(tmp_path) == ["fc", "wrn_aug"]


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("fc", "sweep@fc"),
        ("wrn_sigma", "sweep@wrn_sigma"),
        ("autol2_wrn_schedule", "autol2@wrn_schedule"),
        ("measure_c", "measure_c"),
        ("theory", "theory"),
    ],
)
def test_stage_of_a_result(name: str, stage: str) -> None:
    assert tables.stage(name) == stage
