"""The library's pages: their examples run, the reference matches the docstrings, the table fills itself."""

import doctest
import importlib.util
import itertools
import math
import os
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
import shown
from places import ROOT

import l2dynamics
from l2dynamics import arguments, autol2, autol2_optax, prediction
from l2dynamics.suggestion import suggest


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "module", [arguments, autol2, autol2_optax, prediction, suggest], ids=lambda module: module.__name__
)
def test_examples_in_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("page", ["library.md", "api.md"])
def test_examples_in_pages(page):
    result = doctest.testfile(str(ROOT / "docs" / page), module_relative=False)
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.executes("docs/api.md#*:python")
def test_reference_matches_the_docstrings():
    script = load_script("make_api_reference")
    assert script.TARGET.read_text(encoding="utf-8") == script.render()


def test_reference_covers_every_public_name():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for name in l2dynamics.__all__:
        if not name.startswith("_"):
            assert f"### {name}\n" in page


class Training:
    """What the fragments of the page leave to the reader: a network that learns within three batches."""

    steps_per_epoch = 5

    def __init__(self):
        self.batches, self.l2 = 0, None

    def start(self, seed, weight_decay):
        self.l2 = weight_decay
        return self, self

    def train_one_batch(self, model, optimizer):
        assert model is optimizer is self
        self.batches += 1

    def test_accuracy(self, model):
        return model.batches / 100


def fragments(page, heading):
    found = [
        block.text
        for block in shown.blocks(ROOT / page)
        if (block.heading, block.kind) == (heading, "python")
    ]
    assert found
    return found


@pytest.mark.executes("README.md#A number instead of a sweep:python", "docs/library.md#In three lines:python")
def test_three_lines_suggest_a_coefficient_for_the_generator_of_the_page(monkeypatch, capsys):
    training = Training()
    (generator,) = [text for text in fragments("docs/library.md", "In three lines") if "def make_run" in text]
    names = ("start", "train_one_batch", "test_accuracy", "steps_per_epoch")
    space = {"itertools": itertools, **{name: getattr(training, name) for name in names}}
    exec(generator, space)
    assert list(itertools.islice(space["make_run"](0.1, 0), 2)) == [(2.0, 0.1), (4.0, 0.2)]
    assert training.l2 == 0.1

    def make_run(l2, seed):
        for step in range(100_000):
            x = step / 50 * l2
            yield step / 50, 0.1 + 0.7 * x * math.exp(1 - x)

    lines = fragments("README.md", "A number instead of a sweep")
    lines += [text for text in fragments("docs/library.md", "In three lines") if text != generator]
    for text in lines:
        exec(text, {"make_run": make_run})
        assert "l2 = " in capsys.readouterr().out


@pytest.mark.executes("docs/library.md#PyTorch and Flax:python")
@pytest.mark.filterwarnings("ignore:suggest_l2")
def test_flax_fragment_suggests(capsys):
    rng = np.random.default_rng(0)
    y = np.arange(400) % 10
    x = (rng.normal(size=(10, 768))[y] + 9 * rng.normal(size=(400, 768))).astype(np.float32)

    def epoch(seed):
        order = np.random.default_rng(seed).permutation(200)
        return ((x[chosen], y[chosen]) for chosen in np.split(order, 4))

    (flax,) = [text for text in fragments("docs/library.md", "PyTorch and Flax") if "nnx" in text]
    with jax.numpy_dtype_promotion("standard"):
        exec(flax, {"epoch": epoch, "x_test": x[200:], "y_test": y[200:]})
    assert "l2 = " in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:suggest_l2")
def test_pytorch_fragments_train(capsys):
    torch = pytest.importorskip("torch")
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(400) % 10
    x = (torch.randn(10, 768, generator=generator)[y] + 9 * torch.randn(400, 768, generator=generator)).view(
        -1, 3, 16, 16
    )
    loader = [(x[n : n + 50], y[n : n + 50]) for n in range(0, 200, 50)]
    suggest, _, train = fragments("docs/library.md", "PyTorch and Flax")
    exec(suggest, {"loader": loader, "x_test": x[200:], "y_test": y[200:]})
    assert "l2 = " in capsys.readouterr().out
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    exec(train, {"torch": torch, "loader": loader, "model": model, "optimizer": optimizer})
    assert float(capsys.readouterr().out) == optimizer.param_groups[0]["weight_decay"] == pytest.approx(0.002)


@pytest.mark.executes("docs/library.md#AutoL2:python")
def test_autol2_fragments_train_what_the_reader_has(capsys):
    params = jax.numpy.ones(3)
    public = {name: getattr(l2dynamics, name) for name in l2dynamics.__all__}
    space = {
        "optax": optax,
        "params": params,
        "grads": params,
        "loss": 1.0,
        "accuracy": 0.5,
        "error": 0.5,
        **public,
    }
    for text in fragments("docs/library.md", "AutoL2"):
        begin, _, step = text.partition("...\n")
        with jax.numpy_dtype_promotion("standard"):  # optax's MultiSteps needs it
            exec(begin, space)
            space["opt_state"] = space["tx"].init(params)
            updates = []
            for _ in range(8):  # microbatches, where gradients are accumulated
                exec(step, space)
                updates.append(float(abs(space["updates"]).sum()))
        assert max(updates) > 0
    assert [float(line) for line in capsys.readouterr().out.split()] == pytest.approx([0.001] * 8)


NEW_USER = """
import importlib.metadata, math, sys
from l2dynamics import AutoL2, auto_l2, current_l2, measure_c, predict_l2, suggest_l2, t_star

def make_run(l2, seed):
    for step in range(100_000):
        x = step * l2 / 0.6
        yield step, 0.1 + 0.7 * x * math.exp(1 - x)

suggestion = suggest_l2(make_run, budget=20_000)
print(suggestion)
assert 1e-5 < suggestion.l2 < 1e-4
import jax.numpy as jnp, optax
tx = optax.chain(auto_l2(), optax.sgd(0.1, momentum=0.9))
params = jnp.ones(3)
_, state = tx.update(params, tx.init(params), params, loss=1.0, error=0.5)
assert 0.09 < float(current_l2(state)) < 0.11
assert float(AutoL2().init().l2) > 0
assert t_star([0, 1], [0.1, 0.5]) == 1 and measure_c([0, 1, 2], [0.1, 0.5, 0.4], 0.1) == 0.1
installed = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
unwanted = installed & {"flax", "dvc", "mlflow", "tensorflow-datasets", "pandas", "typer", "rich", "matplotlib"}
assert not unwanted, unwanted
assert "site-packages" in sys.modules["l2dynamics"].__file__
print(sorted(installed))
"""


@pytest.mark.executes("docs/library.md#The right*:")
@pytest.mark.slow
def test_wheel_works_in_an_environment_with_jax_optax_and_numpy_only(tmp_path):
    """Needs a package index. As a new user: build, install into an empty environment, three lines."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def call(*command):
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    call(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("l2dynamics-*.whl")
    call(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    call(python, "-m", "pip", "install", "--quiet", wheel)
    assert "l2 = " in call(python, "-W", "error", "-c", NEW_USER)
    done = subprocess.run(
        [tmp_path / "venv" / "bin" / "l2dynamics"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 2
    assert done.stderr.endswith("pip install '.[cli]' in a checkout of l2dynamics\n")
