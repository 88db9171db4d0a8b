import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

from l2dynamics.claims import theory
from l2dynamics.claims.base import FIELDS
from l2dynamics.experiments.messages import ConfigError, check
from l2dynamics.experiments.scales import Executor, Params
from l2dynamics.figures import gallery, style
from l2dynamics.report import theory_section
from l2dynamics.results import source_code, tables
from l2dynamics.running import events, interruption, pool
from l2dynamics.theory import comparison, descent, execution, kernels, lemma1, predictions, star, tasks
from l2dynamics.theory.schema import TheoryConfig

PARAMS = Params(scale="smoke", seed=3, data={"source": "sample"}, executor=Executor(kind="in_process"))
TINY = {
    "samples": 12,
    "test": 10,
    "kernel_width": 32,
    "panel_c": {"eta": 0.2, "width": 24, "horizon": 0.02, "evaluations": 10},
    "training": {"eta": 0.2, "widths": [8, 16], "evaluations": 10},
    "minimum_l2": [0.05, 0.2, 1.0],
    "test_minimum": {"width": 16, "l2": [1.0], "eta": 0.2},
    "test_star": {"l2": [0.05, 0.2, 1.0], "test": 15, "per_decade": 12},
    "finite_star": {
        "widths": [8, 16],
        "l2": [0.2, 0.4, 0.7, 1.0],
        "seeds": 3,
        "eta": 0.1,
        "test": 20,
        "evaluations": 12,
    },
    "convergence": {"widths": [8, 16], "samples": 4, "seeds": 2},
    "decay": {"depths": [1], "widths": [8, 16], "samples": 4, "seeds": 1, "l2": 0.5, "points": 3},
    "deep_linear": {"depths": [1], "widths": [4, 9], "strengths": [0.2]},
    "convolutional": False,
}


def compute(root, params=PARAMS):
    """The stage without its lock."""
    tables.write(execution.run(check(TheoryConfig, TINY, "test"), params, root), root)


@pytest.fixture(name="root", scope="module")
def _root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "data", root / "data")
    return root


@pytest.fixture(name="results", scope="module")
def _results(root: Path) -> tables.Results:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lemma1, "NETWORKS", lemma1.NETWORKS[:1])
        compute(root)
    return tables.load("theory", root, "smoke")


def test_table_and_passport(results):
    assert set(results.table["panel"]) == {
        "a", "b", "c", "kernel", "minimum", "decay", "test", "own", "test_star",
    }  # fmt: skip
    assert set(results.passport["numbers"]) == {
        "modes", "kernels", "minimum", "test_star", "fixed_points", "lemma1", "panel_c", "training", "test_loss",
        "finite_star", "decay",
    }  # fmt: skip
    assert results.passport["runs"] == 3 + 1 + 2 + 2 * 4 * 3
    assert {"scale", "git_commit", "device", "wall_seconds", "key", "data"} <= set(results.passport)
    assert results.table["y"].notna().all()


def test_finished_parts_are_not_repeated_and_the_result_is_the_same(results, root, monkeypatch):
    before = (root / "results/smoke/theory.csv").read_bytes()

    def fail(*_, **__):
        raise AssertionError("a finished part was computed again")

    kept = list((root / "work/theory").rglob("decay@1-8-3.npz"))
    assert len(kept) == 1
    kept[0].unlink()
    for module, name in (
        (comparison, "compare"), (descent, "descend"), (kernels, "convergence"), (kernels, "reference_kernel"),
        (predictions, "minimum"), (predictions, "fixed_points"), (star, "compute"), (lemma1, "table"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, fail)
    compute(root)
    assert (root / "results/smoke/theory.csv").read_bytes() == before


def test_side_by_side_the_numbers_are_the_same(results, root, tmp_path, monkeypatch):
    shutil.copytree(root / "data", tmp_path / "data")
    monkeypatch.setenv("L2DYNAMICS_CHECKPOINT_SECONDS", "0")
    params = PARAMS.model_copy(update={"executor": Executor(kind="processes", workers=2)})
    compute(tmp_path, params)
    assert (tmp_path / "results/smoke/theory.csv").read_bytes() == (
        root / "results/smoke/theory.csv"
    ).read_bytes()
    found = tables.load("theory", tmp_path, "smoke").passport
    # The other parts hold seconds; lemma1 is patched here and not in the workers.
    for part in ("modes", "minimum", "fixed_points", "decay"):
        assert found["numbers"][part] == results.passport["numbers"][part]
    assert not list((tmp_path / "work/theory").rglob("*.checkpoint"))


def test_a_stopped_descent_saves_and_goes_on_to_the_same_bits(results, root, monkeypatch):
    before = (root / "results/smoke/theory.csv").read_bytes()
    (file,) = (root / "work/theory").rglob("panel_c.npz")
    file.unlink()
    shares = []
    watch = pool.run

    def stopped(todo, executor, report, **rest):
        asked = iter(range(3))
        with pytest.raises(interruption.Interrupted, match="panel_c"):
            todo[0].call(report, lambda: next(asked, None) is None)
        assert file.with_suffix(".checkpoint").exists()
        watch(todo, executor, lambda event: (shares.append(event.run_steps), report(event)), **rest)

    monkeypatch.setattr(pool, "run", stopped)
    compute(root)
    assert (root / "results/smoke/theory.csv").read_bytes() == before
    assert sum(shares) == pytest.approx(1)
    assert shares[1] > 0.1, "it went on from the checkpoint"


def test_a_task_that_raises_is_named_and_the_others_finish(results, root, monkeypatch):
    files = [next((root / "work/theory").rglob(f"{name}.npz")) for name in ("minimum", "modes")]
    for file in files:
        file.unlink()

    def fail(*_):
        raise RuntimeError("no minimum")

    monkeypatch.setattr(predictions, "minimum", fail)
    with pytest.raises(pool.JobsFailed, match=r"^minimum: RuntimeError: no minimum$"):
        compute(root)
    assert [file.exists() for file in files] == [False, True]
    monkeypatch.undo()
    compute(root)
    assert files[0].exists()


def test_a_task_done_before_its_worker_died_is_not_repeated(results, root, monkeypatch):
    config = check(TheoryConfig, TINY, "test")
    (file,) = (root / "work/theory").rglob("modes.npz")
    monkeypatch.setattr(tasks, "_compute", lambda *_: pytest.fail("repeated"))
    told = []
    work = tasks.Work(config, PARAMS.seed, "sample", root, file.parent)
    tasks.execute("modes", work, told.append, lambda: False)
    assert told == [events.Event("modes", 0.0), events.Event("modes", 1.0, finished=True)]


def test_the_key_covers_all_that_computes(monkeypatch):
    asked = []
    monkeypatch.setattr(source_code, "fingerprint", lambda file: asked.append(file.stem) or "")
    source_code.code_key(*tasks.MODULES)
    assert {
        "comparison",
        "descent",
        "kernels",
        "lemma1",
        "ntk",
        "peaks",
        "predictions",
        "problem",
        "star",
        "wide",
        "widths",
    } <= set(asked)


def test_claims_report_and_figure(results, root):
    claims = [claim.record() for claim in theory.evaluate({"theory": results})]
    assert [set(claim) for claim in claims] == [set(FIELDS)] * 7
    assert [claim["verdict"] for claim in claims[1:3]] == ["not decided"] * 2  # too narrow, too few
    assert claims[3]["measured"] == results.passport["numbers"]["test_star"]["exponent"]["slope"]
    page = theory_section.section(results)
    assert page.count("### ") == 9
    assert "nan" not in page
    drawing = gallery.draw("fig5", {"theory": results}, style.get_style("paper"))
    assert set(drawing.data["panel"]) == {"a", "b", "c", "d"}
    assert {"theory, k = 1", "theory, k = 2", "experiment"} <= set(drawing.data["curve"])
    assert "scale smoke" in drawing.caption
    drawing = gallery.draw("figX5", {"theory": results}, style.get_style("paper"))
    assert "20 test images, 28×28, source sample); scale smoke; 3 seeds" in drawing.caption
    assert {"width 8", "width 16", "theory"} <= set(drawing.data["curve"])


def test_damaged_results_are_refused(results, root, tmp_path):
    shutil.copytree(root / "results", tmp_path / "results")
    with (tmp_path / "results/smoke/theory.csv").open("a") as file:
        file.write("x")
    with pytest.raises(tables.ResultsError, match="run `dvc repro theory`"):
        tables.load("theory", tmp_path, "smoke")
    (tmp_path / "results/smoke/theory.csv").unlink()
    with pytest.raises(tables.ResultsError, match="is missing"):
        tables.load("theory", tmp_path, "smoke")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"sample": 3}, "sample"), ({"minimum_l2": [0.1, 0.1, 0.2]}, "minimum_l2 must increase"),
     ({"modes": {"ratios": [0.5, 0.1]}}, "ratios"), ({"samples": 9}, "samples"),
     ({"decay": {**TINY["decay"], "samples": 99}}, "decay.samples 99"),
     ({"kernel_width": 10**9}, r"kernel_width 1000000000 needs about 2\.\d*e\+04 GB, more than memory \(16\)"),
     ({"decay": {**TINY["decay"], "depths": [2], "widths": [8, 10**6]}}, "decay.widths 1000000 needs about"),
     ({"samples": 10**6}, "samples 1000000 needs about"),
     ({"test_star": {**TINY["test_star"], "test": 10**8}}, "samples 12 needs about"),
     ({"test_star": {**TINY["test_star"], "per_decade": 10**8}}, "test_star.test 15 needs about"),
     ({"test_star": {"l2": [0.2, 0.1, 0.3]}}, "test_star.l2 must increase"),
     ({"panel_c": {**TINY["panel_c"], "horizon": 1e9}}, r"panel_c.horizon 1e\+09 needs 2.5e\+12 steps")],
)  # fmt: skip
def test_bad_sections_are_refused_in_one_line(change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        check(TheoryConfig, {**TINY, **change}, "scales/x.yaml: theory")
    assert "\n" not in str(caught.value)


def test_unstable_learning_rate_says_what_to_do(root):
    for part in ("panel_c", "training", "test_minimum", "finite_star"):
        wild = {**TINY, part: {**TINY[part], "eta": 50.0}}
        with pytest.raises(ValueError, match=rf"theory\.{part}\.eta: 50 is unstable"):
            execution.run(check(TheoryConfig, wild, "test"), PARAMS, root)


def test_script_reports_errors_in_one_line(tmp_path):
    (tmp_path / "params.yaml").write_text("scale: smoke\ndata: {source: sample}\n")
    (tmp_path / "scales").mkdir()
    (tmp_path / "scales/smoke.yaml").write_text("fc: {}\n")
    done = subprocess.run(
        [sys.executable, ROOT / "stages/theory.py"],
        env={**os.environ, "L2DYNAMICS_ROOT": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert (
        done.stderr == "error: scales/smoke.yaml: section theory is missing: add it, as in the other scales\n"
    )
