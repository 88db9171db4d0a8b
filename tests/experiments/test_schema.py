"""Every wrong value is refused by one line with file, section, field and value."""

import copy
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import ROOT

from l2dynamics.experiments import scales
from l2dynamics.experiments.messages import ConfigError, check
from l2dynamics.experiments.scales import Params
from l2dynamics.experiments.schema import AutoL2Sweep, Grid, Length, MeasureC, Sweep
from l2dynamics.experiments.setup import Setup

SETUP = {
    "data": {"name": "cifar10", "train": 64, "test": 64, "image_size": 16},
    "model": {"kind": "wrn", "depth": 10, "widen": 1},
    "loss": "softmax",
    "batch": 32,
    "momentum": 0.9,
    "augment": True,
    "schedule": {"factor": 0.2, "at": [0.3, 0.6, 0.9]},
    "sigma_w": 1.0,
    "sigma_b": 0.0,
    "bn_group": 16,
    "eval_batch": 64,
    "eval_train": 32,
    "precision": "float32",
}
SWEEP = {
    "setup": SETUP,
    "evaluations_per_decade": 20,
    "grids": [
        {
            "group": "scaled",
            "eta": [0.1, 0.2],
            "l2": [0, 1e-4],
            "sigma_w": [1.0],
            "seeds": 2,
            "length": {"product": 1},
            "zero": {"epochs": 5},
            "max_epochs": 1e6,
        }
    ],
    "predicted": {"c_of": "wrn", "eta": 0.2, "budgets": [5, 10], "multiples": [1, 2], "seeds": 3},
    "bucket": 1,
}
AUTO = {
    "setup": SETUP,
    "evaluations_per_decade": 20,
    "eta": 0.2,
    "epochs": 10,
    "l2": [0.01],
    "seeds": 3,
    "controller": {"decay": 0.1, "every": 10, "refractory": 0.1},
    "init_l2": [0.1],
    "measures": ["minibatch"],
    "bucket": 1,
}
MEASURE = {
    "setup": SETUP,
    "evaluations_per_decade": 9,
    "eta": 0.1,
    "l2": [0.1],
    "seeds": 1,
    "length": {"epochs": 3},
    "bucket": 1,
}
PARAMS = {
    "scale": "smoke",
    "seed": 0,
    "data": {"source": "sample"},
    "executor": {"kind": "auto", "workers": 0},
    "figures": {"style": "paper"},
}
SECTIONS = {
    "sweep": (Sweep, SWEEP),
    "auto": (AutoL2Sweep, AUTO),
    "measure": (MeasureC, MEASURE),
    "params": (Params, PARAMS),
}


def replaced(content, path, value):
    """A copy in which the value at ``path`` is another one."""
    content = copy.deepcopy(content)
    node = content
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    return content


def refusal(section, content, where="scales/smoke.yaml: wrn"):
    with pytest.raises(ConfigError) as raised:
        check(section, content, where)
    message = str(raised.value)
    assert message.startswith(f"{where}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", SECTIONS)
def test_the_sections_of_these_tests_are_valid(name):
    section, content = SECTIONS[name]
    assert check(section, content, "x").model_dump(mode="json", exclude_none=True)


BAD = [
    # section, path, bad value, what the line must say besides
    ("sweep", "setup.data.name", "svhn", "mnist"),
    ("sweep", "setup.data.train", 0, "greater than 0"),
    ("sweep", "setup.data.test", -5, "greater than 0"),
    ("sweep", "setup.data.image_size", 2.5, "integer"),
    ("sweep", "setup.model.kind", "vgg", "fc"),
    ("sweep", "setup.model.depth", 12, "6n + 4"),
    ("sweep", "setup.model.widen", 0, "greater than 0"),
    ("sweep", "setup.loss", "hinge", "softmax"),
    ("sweep", "setup.batch", "many", "integer"),
    ("sweep", "setup.batch", 128, "larger than data.train 64"),
    ("sweep", "setup.momentum", 1.0, "less than 1"),
    ("sweep", "setup.momentum", -0.1, "greater than or equal to 0"),
    ("sweep", "setup.augment", "sometimes", "boolean"),
    ("sweep", "setup.schedule.factor", 0, "greater than 0"),
    ("sweep", "setup.schedule.at", [], "at least 1"),
    ("sweep", "setup.schedule.at", [0.6, 0.3], "must increase"),
    ("sweep", "setup.schedule.at", [0.3, 1.0], "less than 1"),
    ("sweep", "setup.schedule", "fast", "write a mapping"),
    ("sweep", "setup.schedule.shape", "linear", "{shape: cosine}"),
    ("sweep", "setup.schedule.shape", "cosine", "setup.schedule.factor: Extra inputs are not permitted"),
    ("sweep", "setup.l2_on", "biases", "scale_invariant"),
    ("sweep", "setup.weight_norms", "often", "boolean"),
    ("sweep", "setup.sigma_w", 0, "greater than 0"),
    ("sweep", "setup.sigma_b", -1, "greater than or equal to 0"),
    ("sweep", "setup.bn_group", 10, "multiple of bn_group 10"),
    ("sweep", "setup.eval_batch", 0, "greater than 0"),
    ("sweep", "setup.eval_train", 0, "greater than 0"),
    ("sweep", "setup.precision", "float16", "bfloat16"),
    ("sweep", "evaluations_per_decade", 0, "greater than or equal to 1"),
    ("sweep", "grids", [], "at least 1"),
    ("sweep", "grids.0.group", "other", "fixed"),
    ("sweep", "grids.0.eta", [], "at least 1"),
    ("sweep", "grids.0.eta", [0.1, -0.1], "greater than 0"),
    ("sweep", "grids.0.eta", [0.1, 0.1], "lists a value twice"),
    ("sweep", "grids.0.eta", [0.1, float("nan")], "finite"),
    ("sweep", "grids.0.eta", 0.1, "valid tuple"),
    ("sweep", "grids.0.l2", [-1e-4], "greater than or equal to 0"),
    ("sweep", "grids.0.l2", [1e-4, 1e-4], "lists a value twice"),
    ("sweep", "grids.0.sigma_w", [0], "greater than 0"),
    ("sweep", "grids.0.seeds", 0, "greater than 0"),
    ("sweep", "grids.0.length", {}, "exactly one of epochs, product, inverse_l2, inverse_eta"),
    ("sweep", "grids.0.length", {"epochs": 3, "product": 1}, "exactly one of"),
    ("sweep", "grids.0.length", {"inverse_eta": 3}, "inverse_eta is for λ = 0"),
    ("sweep", "grids.0.length.product", float("inf"), "finite"),
    ("sweep", "grids.0.zero", None, "give its length as zero"),
    ("sweep", "grids.0.zero", {"product": 1}, "only epochs or inverse_eta"),
    ("sweep", "grids.0.max_epochs", 0, "greater than 0"),
    ("sweep", "predicted.c_of", "resnet", "wrn"),
    ("sweep", "predicted.eta", 0, "greater than 0"),
    ("sweep", "predicted.budgets", [], "at least 1"),
    ("sweep", "predicted.multiples", [3], "1 or 2"),
    ("sweep", "predicted.seeds", 0, "greater than 0"),
    ("sweep", "bucket", 0, "greater than 0"),
    ("sweep", "bucket", 2, "for fc models only"),
    ("auto", "eta", 0, "greater than 0"),
    ("auto", "epochs", 0, "greater than 0"),
    ("auto", "l2", [-1], "greater than or equal to 0"),
    ("auto", "l2", [0.1, 0.1], "lists a value twice"),
    ("auto", "seeds", 0, "greater than 0"),
    ("auto", "controller.decay", 1, "less than 1"),
    ("auto", "controller.every", 0, "greater than 0"),
    ("auto", "controller.refractory", -1, "greater than or equal to 0"),
    ("auto", "init_l2", [0], "greater than 0"),
    ("auto", "own_init_l2", 0, "greater than 0"),
    ("auto", "measures", ["all"], "subset"),
    ("auto", "measures", [], "at least 1"),
    ("measure", "l2", [], "at least 1"),
    ("measure", "eta", "fast", "number"),
    ("params", "scale", "huge", "laptop"),
    ("params", "seed", -1, "greater than or equal to 0"),
    ("params", "seed", 2**31, "less than"),
    ("params", "data.source", "web", "tfds"),
    ("params", "executor.kind", "threads", "processes"),
    ("params", "executor.workers", -1, "greater than or equal to 0"),
    ("params", "figures.style", "pink", "slides"),
]


@pytest.mark.parametrize("asked", [{"l2_on": "others"}, {"weight_norms": True}])
def test_what_is_about_scale_invariant_weights_needs_batch_norm(asked):
    cnn = {"kind": "cnn", "channels": 2, "dense": 4, "pool_window": 2, "pool_stride": 2}
    without = SWEEP | {"setup": SETUP | {"model": cnn | {"batch_norm": False}} | asked}
    assert f"{next(iter(asked))}: " in (line := refusal(Sweep, without))
    assert "model cnn has none" in line
    assert check(Sweep, SWEEP | {"setup": SETUP | {"model": cnn | {"batch_norm": True}} | asked}, "x")


@pytest.mark.parametrize(("name", "path", "value", "says"), BAD, ids=[f"{b[0]}.{b[1]}={b[2]}" for b in BAD])
def test_a_bad_value_is_one_line_with_the_field(name, path, value, says):
    section, content = SECTIONS[name]
    parts = [int(part) if part.isdigit() else part for part in path.split(".")]
    message = refusal(section, replaced(content, parts, value))
    assert says in message
    # The field, or for a rule between fields the section that holds them and the field by name.
    assert path.split(".")[-1] in message or path.split(".")[-2] in message


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("sweep", ()),
        ("sweep", ("setup",)),
        ("sweep", ("setup", "data")),
        ("sweep", ("setup", "model")),
        ("sweep", ("setup", "schedule")),
        ("sweep", ("grids", 0)),
        ("sweep", ("grids", 0, "length")),
        ("sweep", ("predicted",)),
        ("auto", ()),
        ("auto", ("controller",)),
        ("measure", ()),
        ("params", ()),
        ("params", ("data",)),
        ("params", ("executor",)),
        ("params", ("figures",)),
    ],
)
def test_an_unknown_key_is_refused_by_name(name, path):
    section, content = SECTIONS[name]
    assert "momentun" in refusal(section, replaced(content, (*path, "momentun"), 1))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("sweep", ("setup",)),
        ("sweep", ("setup", "batch")),
        ("sweep", ("grids", 0, "eta")),
        ("auto", ("l2",)),
        ("params", ("scale",)),
    ],
)
def test_a_missing_key_is_named(name, path):
    section, content = SECTIONS[name]
    content = copy.deepcopy(content)
    node = content
    for part in path[:-1]:
        node = node[part]
    del node[path[-1]]
    assert re.search(rf"\b{path[-1]}: Field required", refusal(section, content))


def paths_in(node, prefix=()):
    """Paths of all values, the containers included."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*prefix, key)
        yield from paths_in(value, (*prefix, key))


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=6),
    st.lists(st.floats(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(sorted(SECTIONS)), data=st.data(), junk=JUNK)
def test_any_junk_is_accepted_or_refused_in_one_line(name, data, junk):
    section, content = SECTIONS[name]
    path = data.draw(st.sampled_from(list(paths_in(content))))
    try:
        found = check(section, replaced(content, path, junk), "scales/smoke.yaml: wrn")
    except ConfigError as error:
        message = str(error)
        assert message.startswith("scales/smoke.yaml: wrn: ")
        assert "\n" not in message
    else:
        assert check(section, found.model_dump(mode="json"), "again") == found


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "0.0001", "1.0e-4", ".0001"])
def test_numbers_are_numbers_in_every_spelling(tmp_path, text):
    (tmp_path / "a.yaml").write_text(f"l2: [{text}, 1e6, 5]\n")
    l2 = scales.read_yaml(tmp_path / "a.yaml")["l2"]
    assert l2 == [1e-4, 1e6, 5]
    assert all(isinstance(value, int | float) for value in l2)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a: [1, 2", "not valid YAML"),
        ("- 1\n- 2\n", "must be a mapping"),
        ("", "must be a mapping"),
        ("a: 1\na: 2\n", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_mapping_is_one_line(tmp_path, content, says):
    file = tmp_path / "a.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=says) as raised:
        scales.read_yaml(file)
    assert str(raised.value).startswith(str(file))
    assert "\n" not in str(raised.value)


def test_bytes_that_are_no_text_are_one_line(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match="not valid YAML"):
        scales.read_yaml(tmp_path / "a.yaml")


def test_missing_files_and_sections_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"params\.yaml: no such file"):
        scales.load_params(tmp_path)
    with pytest.raises(
        ConfigError, match=r"^params.yaml: scale: 'big' is unknown, choose one of smoke, laptop"
    ):
        scales.load_section(tmp_path, "big", "fc", Sweep)
    (tmp_path / "scales").mkdir()
    (tmp_path / "scales" / "smoke.yaml").write_text("fc: 3\n")
    for name in ("wrn", "fc.deeper", "autol2.wrn"):
        with pytest.raises(ConfigError, match=rf"^scales/smoke.yaml: section {name} is missing: add it"):
            scales.load_section(tmp_path, "smoke", name, Sweep)
    with pytest.raises(ConfigError, match=r"^scales/smoke.yaml: fc: "):
        scales.load_section(tmp_path, "smoke", "fc", Sweep)


def test_sections_are_immutable():
    from pydantic import ValidationError

    setup = check(Setup, SETUP, "x")
    with pytest.raises(ValidationError, match="frozen"):
        setup.batch = 3


@pytest.mark.parametrize(
    ("length", "eta", "l2", "expected"),
    [
        ({"epochs": 7}, 0.1, 0.2, 7),
        ({"product": 2}, 0.15, 1e-3, 2 / (0.15 * 1e-3)),
        ({"inverse_l2": 0.1}, 0.2, 5e-4, 200),
        ({"inverse_eta": 1e6}, 0.0025, 0.0, 4e8),
    ],
)
def test_lengths(length, eta, l2, expected):
    assert Length(**length).of(eta, l2) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("eta", "l2", "expected"),
    [(0.2, 1e-3, 500.0), (0.2, 1.25e-4, 4000.0), (0.2, 6.25e-5, None), (0.2, 0.0, 10000)],
)
def test_max_epochs_leaves_out_what_is_longer_but_not_the_reference(eta, l2, expected):
    grid = Grid(
        eta=(0.2,),
        l2=(0.0, 6.25e-5, 1.25e-4, 1e-3),
        length=Length(product=0.1),
        zero=Length(epochs=10000),
        max_epochs=4000,
    )
    found = grid.epochs(eta, l2)
    assert found == (None if expected is None else pytest.approx(expected))


def test_params_of_the_repository_are_valid():
    assert scales.load_params(ROOT).scale in scales.SCALES
