"""Thousands of slips of the pen: each configuration either trains or is refused by one line, and nothing is written."""

import copy
import os
import sys

import guides
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from places import ROOT
from ruamel.yaml import YAML

import l2dynamics
from l2dynamics import cli
from l2dynamics.data import datasets, specs
from l2dynamics.experiments import inheritance, messages, registry, scales
from l2dynamics.experiments.messages import ConfigError
from l2dynamics.pipeline import training_stage
from l2dynamics.running import executors, workload
from l2dynamics.theory.schema import TheoryConfig
from l2dynamics.theory.solution import mode_evolution

EXAMPLES = int(os.environ.get("L2DYNAMICS_FUZZ_EXAMPLES", "500"))
YAML_SAFE = YAML(typ="safe")
SCALES = {name: YAML_SAFE.load(ROOT / "scales" / f"{name}.yaml") for name in scales.SCALES}
PARAMS = YAML_SAFE.load(ROOT / "params.yaml")
FUZZ = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


class Valid(Exception):
    """The configuration was accepted: training would begin here."""


# What people write by mistake: another type, another unit, an empty value, a value too many, a sign, a typo.
SLIPS = st.one_of(
    st.sampled_from(
        [
            *(
                None,
                True,
                False,
                "",
                " ",
                "ten",
                "0.1 ",
                "1e-3 per step",
                "50 epochs",
                "30%",
                "1,5",
                "nan",
                "λ",
            ),
            *(0, -1, 1, 2, 3, 7, 10, 28, 64, 512, 10**6, 2**31 - 1, 2**31, 10**20, -(10**20)),
            *(
                0.0,
                -0.0,
                1e-300,
                1e-12,
                0.5,
                1.0,
                1.5,
                30.0,
                1e12,
                1e308,
                float("inf"),
                float("-inf"),
                float("nan"),
            ),
            *(
                [],
                {},
                [[]],
                [None],
                [0],
                [0.1, 0.1],
                [1.0, 0.5],
                [0.1, -0.1],
                {"epochs": 5},
                {"product": 1.0},
            ),
            *(
                {"epochs": 1, "product": 1},
                {"": 1},
                {"a\nb": 1},
                {"kind": "fc"},
                {"inverse_eta": 1.0},
                {1: 2},
            ),
            *(
                "mnist",
                "cifar10",
                "imagenet2012",
                "fc",
                "cnn",
                "wrn",
                "resnet",
                "mse",
                "laptop",
                "tfds",
                "ray",
            ),
        ]
    ),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.floats(allow_nan=True), max_size=4),
)
TYPOS = st.sampled_from(["learning_rate", "lambda", "Seeds", "batchsize", "epoch", "a b", "", "x\ny", "η"])


def places(node, prefix=()):
    """Paths of all values, the containers included."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*prefix, key)
        yield from places(value, (*prefix, key))


def at(node, path):
    for part in path:
        node = node[part]
    return node


@st.composite
def mutated(draw, content):
    """A copy of a configuration with one to three mistakes."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        paths = list(places(content))
        if not paths:
            break
        *parent, key = draw(st.sampled_from(paths))
        holder = at(content, parent)
        how = draw(st.sampled_from(["replace", "replace", "scale", "scale", "remove", "add", "repeat"]))
        if how == "remove":
            del holder[key]
        elif how == "add" and isinstance(holder, dict):
            holder[draw(TYPOS)] = draw(SLIPS)
        elif how == "scale" and isinstance(holder[key], int | float):
            holder[key] *= draw(st.sampled_from([0.1, 0.5, 1, 2, 10, 1000]))
        elif how == "repeat" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = draw(SLIPS)
    return content


def one_line(error):
    assert len(str(error).splitlines()) == 1, error


def refused_in_one_line(error, *files):
    one_line(error)
    line = str(error)
    assert line.startswith(files), line
    assert len(line) < 3000
    # field: complaint (value): remedy
    assert line.count(":") >= 2, line


STAGES = {name: ("sweep", name, name) for name in registry.SWEEPS}
STAGES |= {f"autol2.{name}": ("autol2", name, f"autol2.{name}") for name in registry.AUTOL2}
STAGES |= {"measure_c": ("measure_c", "", "measure_c")}
_examples = np.zeros(60_000, np.int32)


def pretended(recipe):
    """The data of a recipe without reading them; sizes and complaints are those of the full sets."""
    wanted = recipe.setup.data
    details = specs.spec(wanted.name, recipe.source)
    side, _, channels = details.shape
    size = wanted.image_size or side
    if not details.lazy and side % size:
        raise ValueError(f"data.image_size: {size} does not divide {side}; use one of the divisors")
    for split, count in (("train", wanted.train), ("test", wanted.test)):
        if (count or 0) > len(_examples):
            raise ValueError(
                f"data.{split}: {count} examples are asked for, there are {len(_examples)}; use fewer"
            )
    images = np.lib.stride_tricks.as_strided(
        np.zeros(1, np.uint8), (wanted.train or len(_examples), size, size, channels), (0, 0, 0, 0)
    )
    labels = _examples[: len(images)]
    one = np.ones(channels, np.float32)
    return datasets.Dataset(
        wanted.name, recipe.source, "", details.classes, images, labels, images, labels, one, one, "digest"
    )


@pytest.fixture(scope="module")
def stage_mains():
    """The stages' own main functions; importing them sets up signals, which the test runner keeps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("l2dynamics.running.runtime.begin_stage", lambda *args: None)
        return {name: guides.stage(name).main for name in ("sweep", "autol2", "measure_c")}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    (tmp_path / "scales").mkdir()

    def begin(*args):
        raise Valid

    traced = {}

    def check(recipe):
        # Tracing a large network takes a second; the same one is traced once.
        setup = recipe.setup.model_dump(include={"data", "model", "batch", "bn_group"})
        key = repr((setup, recipe.source))
        if key not in traced:
            try:
                traced[key] = real(recipe)
            except ValueError as error:
                traced[key] = error
        if isinstance(traced[key], ValueError):
            raise traced[key]
        return traced[key]

    real = workload.check
    monkeypatch.setattr(executors, "check", lambda recipe, executor: check(recipe))
    monkeypatch.setattr(workload, "dataset", pretended)
    monkeypatch.setattr(training_stage, "train", begin)
    monkeypatch.setattr(training_stage, "locked", begin)
    monkeypatch.setattr(training_stage, "measured_c", lambda root, setup: 0.01)
    return tmp_path


def written(root, text_params, text_scale, name="smoke"):
    with (root / "params.yaml").open("w") as file:
        YAML_SAFE.dump(text_params, file)
    with (root / "scales" / f"{name}.yaml").open("w") as file:
        YAML_SAFE.dump(text_scale, file)


def test_a_stage_trains_what_it_accepts_and_refuses_the_rest_in_one_line(stage_mains, checkout, monkeypatch):
    seen = {"valid": 0, "refused": 0}

    @FUZZ
    @given(draws=st.data())
    def fuzz(draws):
        section = draws.draw(st.sampled_from(sorted(STAGES)))
        scale = draws.draw(st.sampled_from(["smoke", "smoke", "laptop", "paper"]))
        kind, argument, path = STAGES[section]
        parts = path.split(".")
        content = at(SCALES[scale], parts)
        _, inherited = inheritance.resolve(SCALES[scale], content, section)
        whole = {parts[0]: content} if len(parts) == 1 else {parts[0]: {parts[1]: content}}
        setups = {name: SCALES[scale]["setups"][name] for name in inherited}
        whole = draws.draw(mutated({"setups": setups, **whole}))
        params = {
            **PARAMS,
            "scale": scale,
            "data": {"source": draws.draw(st.sampled_from(["sample", "tfds"]))},
        }
        if draws.draw(st.integers(0, 4)) == 0:
            params = draws.draw(mutated(params))
        written(checkout, params, whole, scale)
        monkeypatch.setattr(sys, "argv", [f"stages/{kind}.py", *([argument] if argument else [])])
        before = sorted(checkout.rglob("*"))
        try:
            stage_mains[kind](checkout)
        except Valid:
            seen["valid"] += 1
        except ConfigError as error:
            refused_in_one_line(error, "params.yaml: ", "scales/", str(checkout))
            seen["refused"] += 1
        assert sorted(checkout.rglob("*")) == before, "nothing is written"
        (checkout / "scales" / f"{scale}.yaml").unlink()

    fuzz()
    print(f"{sum(seen.values())} configurations: {seen['valid']} valid, {seen['refused']} refused")
    assert min(seen.values()) > EXAMPLES / 20


@settings(FUZZ, max_examples=EXAMPLES // 4)
@given(draws=st.data())
def test_the_theory_section_is_accepted_or_refused_in_one_line(draws):
    content = draws.draw(mutated(SCALES["smoke"]["theory"]))
    try:
        messages.check(TheoryConfig, content, "scales/smoke.yaml: theory")
    except ConfigError as error:
        refused_in_one_line(error, "scales/smoke.yaml: theory")


@settings(FUZZ, max_examples=EXAMPLES // 4)
@given(text=st.one_of(st.text(max_size=60), st.binary(max_size=60)))
def test_any_file_is_a_mapping_or_refused_in_one_line(text, tmp_path_factory):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        assert isinstance(scales.read_yaml(file), dict)
    except ConfigError as error:
        refused_in_one_line(error, str(file))


WORDS = st.one_of(
    st.sampled_from(
        [
            *(
                "suggest",
                "predict",
                "plan",
                "clean",
                "--help",
                "--c",
                "--budget",
                "--first-decay",
                "--l2",
                "--seed",
            ),
            *("--json", "--scale", "--device", "--chance", "--tolerance", "--max-share", "--yes", "--", "-x"),
            *(
                "0",
                "1",
                "-1",
                "0.3",
                "30",
                "1e400",
                "nan",
                "inf",
                "ten",
                "",
                "λ",
                "a:b",
                "math:pi",
                "math:nope",
                "a\nb",
            ),
        ]
    ),
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=8),
)


@settings(FUZZ, max_examples=EXAMPLES // 4)
@given(words=st.lists(WORDS, max_size=7))
def test_the_command_line_ends_with_0_or_with_2_and_a_message(words, tmp_path_factory, monkeypatch, capsys):
    empty = tmp_path_factory.getbasetemp()
    monkeypatch.chdir(empty)
    monkeypatch.delenv("L2DYNAMICS_ROOT", raising=False)
    path = list(sys.path)
    before = sorted(file.name for file in empty.iterdir())
    try:
        status = cli.main(words)
    finally:
        sys.path[:] = path
    said = capsys.readouterr()
    assert status in (0, 2), (words, said)
    assert "Traceback" not in said.out + said.err
    if status == 2:
        assert said.err.strip() or said.out.strip()
    assert sorted(file.name for file in empty.iterdir()) == before


NUMBERS = st.one_of(
    st.floats(),
    st.integers(-(10**6), 10**6),
    st.sampled_from(
        [None, True, "ten", "", [], [0.1], {}, float("nan"), 10**400, -(10**400), 1e-320, object()]
    ),
)
CURVES = st.lists(NUMBERS, max_size=5)
CALLS = {
    "predict_l2": lambda draw: l2dynamics.predict_l2(
        draw(NUMBERS), draw(NUMBERS), first_decay=draw(st.none() | NUMBERS)
    ),
    "t_star": lambda draw: l2dynamics.t_star(draw(CURVES), draw(CURVES), tolerance=draw(NUMBERS)),
    "measure_c": lambda draw: l2dynamics.measure_c(draw(CURVES), draw(CURVES), draw(NUMBERS)),
    "AutoL2": lambda draw: l2dynamics.AutoL2(draw(NUMBERS), draw(NUMBERS), draw(NUMBERS), draw(NUMBERS)),
    "mode_evolution": lambda draw: mode_evolution(
        draw(NUMBERS), gamma=draw(NUMBERS), l2=draw(NUMBERS), k=draw(NUMBERS)
    ),
    "suggest_l2": lambda draw: l2dynamics.suggest_l2(
        lambda l2, seed: draw(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3)),
        draw(NUMBERS),
        l2=draw(NUMBERS),
        max_share=draw(NUMBERS),
        progress=False,
    ),
}


@settings(FUZZ, max_examples=EXAMPLES // 2)
@given(draws=st.data())
def test_the_library_answers_or_names_the_argument(draws):
    """A wrong value is a ValueError of one line; what is no number, or beyond float64, fails as in Python."""
    name = draws.draw(st.sampled_from(sorted(CALLS)))
    try:
        with np.errstate(all="ignore"):
            CALLS[name](draws.draw)
    except (ValueError, TypeError, ArithmeticError) as error:
        one_line(error)
