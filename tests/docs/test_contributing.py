"""CONTRIBUTING.md: its four steps, carried out in a copy of the checkout, give a trained sweep and its figure."""

import json

import guides
import pytest
from places import ROOT

GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(step, kind):
    return guides.block(GUIDE, f"{step}. ", kind)


@pytest.mark.executes("dvc repro fig@Y1", "CONTRIBUTING.md#[1-4]. *:[py]*")
def test_four_steps_add_an_experiment(tmp_path):
    copy = guides.copy_of_the_checkout(tmp_path)
    guides.append(copy / "scales" / "smoke.yaml", block(1, "yaml"))
    dag = copy / "dvc.yaml"
    guides.replace(dag, "  sweep:\n    foreach:\n", "  sweep:\n    foreach:\n" + block(2, "yaml"))
    package = copy / "src" / "l2dynamics" / "figures"
    (package / "figY1.py").write_text(block(3, "python"), encoding="utf-8")
    guides.replace(
        package / "gallery.py", "EXTRA: tuple[str, ...] = ()", 'EXTRA: tuple[str, ...] = ("figY1",)'
    )
    guides.replace(dag, "  fig:\n    foreach:\n", "  fig:\n    foreach:\n" + block(4, "yaml"))

    commands = [line.removeprefix("$ ") for line in block(4, "console").splitlines()]
    assert commands[-1] == "dvc repro"  # everything: minutes, and test_end_to_end.py does it
    output = "".join(guides.run(command, copy) for command in commands[:-1])
    assert guides.stages_run(output) == ["code", "data@mnist", "sweep@fc_shallow", "fig@Y1"]
    assert "src/l2dynamics/figures/figY1.py" in (copy / "data" / "code" / "figY1.txt").read_text()
    passport = json.loads((copy / "results" / "smoke" / "fc_shallow.json").read_text())
    assert (passport["runs"], passport["setup"]["model"]["depth"]) == (4, 1)
    for name in ("figY1.png", "figY1.svg", "data/figY1.csv"):
        assert (copy / "reports" / "smoke" / "figures" / name).stat().st_size > 500
    log = (copy / "work" / "logs" / "sweep@fc_shallow.log").read_text(encoding="utf-8")
    assert "look: results/smoke/fc_shallow.csv" in log
