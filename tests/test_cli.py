"""The command ``l2dynamics`` as a user meets it: results, help, and one clear line for every mistake."""

import json
import subprocess
import sys
import textwrap

import pytest

from l2dynamics import __version__, cli, predict_l2
from l2dynamics.pipeline import clean, cost

TRAINING = """
    import math

    def make_run(l2, seed):
        for step in range(2_000):
            x = step * l2 / 0.5
            yield step, 0.1 + 0.7 * x * math.exp(1 - x)

    def loss(l2, seed):
        return ((step, 1 - accuracy) for step, accuracy in make_run(l2, seed))

    def hopeless(l2, seed):
        return ((step, 0.1) for step in range(2_000))

    def broken(l2, seed):
        yield 0, 0.1
        int("x")

    value = 3
"""


@pytest.fixture
def training(tmp_path, monkeypatch):
    (tmp_path / "my_training.py").write_text(textwrap.dedent(TRAINING))
    (tmp_path / "needs_more.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("my_training", "needs_more"):
        sys.modules.pop(name, None)


def test_predict(capsys):
    assert cli.main(["predict", "--c", "0.0066", "--budget", "50"]) == 0
    assert "l2 = 0.000132" in capsys.readouterr().out


def test_predict_prints_the_formula_that_it_computes(capsys):
    assert cli.main(["predict", "--c", "0.0066", "--budget", "200", "--first-decay", "0.3"]) == 0
    printed, _, formula = capsys.readouterr().out.strip().partition("(c / (first_decay · budget) = ")
    assert printed.split() == ["l2", "=", "0.00011"]
    assert eval(formula.removesuffix(")").replace("·", "*")) == pytest.approx(0.00011)


def test_suggest_with_a_learning_rate_and_a_doubt(training, capsys):
    known = [
        "--learning-rate",
        "0.1",
        "--momentum",
        "0.9",
        "--classes",
        "10",
        "--seed",
        "3",
        "--l2",
        "0.1",
        "--l2",
    ]
    assert cli.main(["suggest", "--budget", "10000", *known, "1e-7", "my_training:make_run"]) == 0
    captured = capsys.readouterr()
    assert "unsure: one run peaked" in captured.out.replace("\n", " ")
    assert "measured range" not in captured.out


def test_suggest_a_loss(training, capsys):
    assert cli.main(["suggest", "--budget", "10000", "--metric", "loss", "--json", "my_training:loss"]) == 0
    assert json.loads(capsys.readouterr().out)["probes"][0]["metric"] == "loss"


@pytest.mark.parametrize(
    ("hours", "text"),
    [(0.01, "0.6 minutes"), (1.4, "84.0 minutes"), (5, "5.0 hours"), (72, "3.0 days"), (9e4, "10.3 years")],
)
def test_a_plan_shows_times_in_their_unit(hours, text):
    assert cost.duration(hours) == text


def test_a_plan_warns_of_a_scale_that_is_not_for_this_device(capsys):
    assert cli.main(["plan", "--scale", "paper", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    assert "paper would take" in captured.err
    assert "years on this device: it is meant for many accelerators" in captured.err
    assert cli.main(["plan", "--scale", "smoke", "--device", "cpu"]) == 0
    assert capsys.readouterr().err == ""


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"l2dynamics {__version__}\n"


def test_predict_json(capsys):
    assert cli.main(["predict", "--c", "0.0066", "--budget", "200", "--first-decay", "0.3", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["l2"] == predict_l2(0.0066, 200, first_decay=0.3)
    assert captured.err == ""


@pytest.mark.executes("docs/library.md#In three lines:")
def test_suggest_prints_the_result_and_how_it_was_found(training, capsys):
    assert cli.main(["suggest", "--budget", "10000", "my_training:make_run"]) == 0
    captured = capsys.readouterr()
    assert "l2 = 4.1e-05" in captured.out
    assert "for a budget of 10000" in captured.out
    assert "peaked" in captured.out
    assert "3 of 4 runs peaked; cost" in captured.out
    assert "l2 0.025, seed 1: peaked at 18" in captured.err


def test_suggest_json_goes_alone_to_stdout(training, capsys):
    arguments = ["suggest", "--budget", "10000", "--first-decay", "0.5", "--l2", "0.01", "--l2", "0.02"]
    assert cli.main([*arguments, "--seed", "3", "--json", "my_training:make_run"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(probe["l2"], probe["seed"]) for probe in found["probes"]] == [(0.01, 3), (0.02, 3)]
    assert found["l2"] == pytest.approx(2 * found["c"] / 10_000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "--c", "0", "--budget", "1"], "c is 0.0: it must be a positive number"),
        (["predict", "--c", "1", "--budget", "-1"], "budget is -1.0"),
        (["suggest", "--budget", "100", "my_training"], "write module:function"),
        (
            ["suggest", "--budget", "100", "./my_training.py:make_run"],
            "./my_training.py is a path, not a module: write my_training:make_run, in the folder of that file",
        ),
        (["suggest", "--budget", "100", ".my_training:make_run"], "write my_training:make_run"),
        (["suggest", "--budget", "100", "no_such_module:f"], "there is no module no_such_module in"),
        (["suggest", "--budget", "100", "my_training:nothing"], "module my_training has no nothing"),
        (["suggest", "--budget", "100", "my_training:value"], "my_training:value is not a function"),
        (["suggest", "--budget", "0", "my_training:make_run"], "budget is 0.0"),
        (
            ["suggest", "--budget", "100", "--first-decay", "30", "my_training:make_run"],
            "first_decay is 30.0",
        ),
        (
            ["suggest", "--budget", "5000", "my_training:hopeless"],
            "without L2 nothing was learned up to 522: give max_share=1",
        ),
    ],
)
def test_bad_input_gives_one_line_and_exit_code_2(training, capsys, arguments, message):
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    last = captured.err.splitlines()[-1]
    assert last.startswith("l2dynamics: ")
    assert message in last
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_failures_of_the_training_keep_their_traceback(training):
    with pytest.raises(ValueError, match="invalid literal"):
        cli.main(["suggest", "--budget", "100", "my_training:broken"])
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        cli.main(["suggest", "--budget", "100", "needs_more:make_run"])


@pytest.mark.parametrize("arguments", [["predict"], ["predict", "--c", "much", "--budget", "1"], ["unknown"]])
def test_usage_errors_point_to_help(capsys, arguments):
    assert cli.main(arguments) == 2
    assert "--help" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["suggest", "predict", "plan", "clean", "--version"]),
        (["suggest", "--help"], ["--budget", "--first-decay", "--json", "my_training:make_run"]),
        (["predict", "--help"], ["--c", "--budget", "--first-decay", "--json", "0.0066"]),
        (["plan", "--help"], ["--scale", "--device", "--json"]),
        (["clean", "--help"], ["--yes", "--json"]),
    ],
)
def test_help(capsys, arguments, words):
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize(("command", "module"), [("plan", "cost"), ("clean", "clean")])
def test_missing_pipeline_is_named(command, module, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, f"l2dynamics.pipeline.{module}", None)
    assert cli.main([command]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"l2dynamics: {command} needs the pipeline")
    assert line.endswith("pip install '.[pipeline]' in a checkout of l2dynamics")


def test_missing_command_line_extra_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "typer", None)
    assert cli.main(["predict", "--c", "1", "--budget", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("pip install '.[cli]' in a checkout of l2dynamics")


def test_commands_reach_the_pipeline(monkeypatch):
    calls = []
    monkeypatch.setattr(cost, "plan_command", lambda **options: calls.append(("plan", options)))
    monkeypatch.setattr(clean, "clean_command", lambda **options: calls.append(("clean", options)))
    assert cli.main(["plan", "--scale", "paper", "--device", "h100", "--json"]) == 0
    assert cli.main(["clean", "--yes"]) == 0
    assert calls == [
        ("plan", {"scale": "paper", "device": "h100", "as_json": True}),
        ("clean", {"yes": True, "as_json": False}),
    ]


def test_python_m():
    done = subprocess.run(
        [sys.executable, "-m", "l2dynamics", "predict", "--c", "1", "--budget", "4", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["l2"] == 0.25
