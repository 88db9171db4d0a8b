"""What a hostile or careless file, address or environment cannot do."""

import ast
import json
import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from places import ROOT

from l2dynamics.data import manifests
from l2dynamics.storage import archives
from l2dynamics.tracking import address, server

SOURCES = sorted(
    file for folder in ("src", "stages", "scripts", "examples") for file in (ROOT / folder).rglob("*.py")
)
SECRET = "hunter2-s3cret"


def calls(file):
    """Dotted names of everything a file calls, with the keyword arguments."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            keywords = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
            yield ast.unparse(node.func), keywords


def test_nothing_unpickles_or_executes_text():
    forbidden = re.compile(
        r"(^|\.)(pickle|cPickle|dill|cloudpickle|shelve|joblib)\.|(^|\.)(read_pickle|extractall|unpack_archive)$"
        r"|^(builtins\.)?(eval|exec)$|^torch\.load$|^yaml\.(load|unsafe_load)$|^os\.system$"
    )
    found = [f"{file.name}: {name}" for file in SOURCES for name, _ in calls(file) if forbidden.search(name)]
    assert found == []
    loads = [keywords for file in SOURCES for name, keywords in calls(file) if name == "np.load"]
    assert loads
    assert all(keywords.get("allow_pickle") is False for keywords in loads)
    yaml = [k.get("typ") for file in SOURCES for name, k in calls(file) if name == "YAML"]
    assert set(yaml) <= {"safe", None}, "ruamel's own loaders (None: round trip) make no objects"


def test_a_pickle_in_place_of_a_checkpoint_is_not_opened(tmp_path):
    import hashlib
    import pickle

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    for content in (pickle.dumps(Trap()), _archive(tmp_path, np.array([Trap()], object))):
        (tmp_path / "run.npz").write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
        assert archives.load(tmp_path / "run.npz") is None
    assert not (tmp_path / "executed").exists()


def _archive(folder, array):
    np.savez(folder / "trap.npz", __meta__=np.frombuffer(b"{}", np.uint8), x=array)
    return (folder / "trap.npz").read_bytes()


def test_servers_listen_on_the_loopback_address_only():
    assert server.HOST == "127.0.0.1"
    texts = {file: file.read_text(encoding="utf-8") for file in [*SOURCES, ROOT / "Makefile"]}
    assert [file.name for file, text in texts.items() if "0.0.0.0" in text] == []


@pytest.mark.parametrize(
    "uri",
    [
        f"http://me:{SECRET}@127.0.0.1:9/mlflow",
        f"http://127.0.0.1:9/?token={SECRET}",
        f"mysql+pymysql://me:{SECRET}@127.0.0.1:9/l2",
        f"http://me:{SECRET}@[broken",
    ],
)
def test_secrets_of_an_address_are_neither_printed_nor_stored(uri, tmp_path):
    root = tmp_path / "checkout"
    (root / "results").mkdir(parents=True)
    for marker in ("dvc.yaml", "params.yaml"):
        (root / marker).write_text("scale: laptop\n")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    environment |= {"L2DYNAMICS_ROOT": str(root), "MLFLOW_TRACKING_URI": uri}
    environment |= {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "stages/track.py")],
        env=environment,
        capture_output=True,
        text=True,
        cwd=root,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert not [file for file in root.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


def test_what_is_shown_of_an_address_holds_no_secret(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{SECRET}@host:5000/?key={SECRET}")
    for text in (os.environ["MLFLOW_TRACKING_URI"], f"401 for {SECRET}", json.dumps({"auth": SECRET})):
        assert SECRET not in address.public(text)


def test_names_in_a_figure_cannot_become_markup(tmp_path):
    import pandas as pd
    from matplotlib.figure import Figure

    from l2dynamics.figures import style
    from l2dynamics.figures.style import Drawing

    nasty = "</text></svg><script>alert(1)</script><image href='javascript:x'/> & \""
    paper = style.get_style("paper")
    with paper.context():
        figure = Figure(figsize=(3, 2))
        axes = figure.subplots()
        axes.plot([1, 2], label=nasty)
        axes.set_title(nasty)
        axes.legend()
    data = pd.DataFrame({"panel": ["a"], "curve": [nasty], "x": [1.0], "y": [2.0]})
    _, svg, csv = style.save(Drawing(figure, nasty, data), tmp_path, "fig1", paper)
    tree = ElementTree.parse(svg)  # well-formed: nothing has closed an element early
    names = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert "script" not in names
    assert not any("javascript" in value for element in tree.iter() for value in element.attrib.values())
    assert pd.read_csv(csv)["curve"].tolist() == [nasty]


@pytest.mark.parametrize("name", ["../../outside", "/etc/outside", "mnist/3.0.1/../../../outside"])
def test_a_manifest_cannot_name_a_file_outside_the_data_folder(name, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "outside").touch()
    manifest = {"name": "mnist", "files": {name: {"bytes": 0, "sha256": ""}}}
    with pytest.raises(ValueError, match="outside the data folder"):
        manifests.check(manifest, tmp_path / "data")
