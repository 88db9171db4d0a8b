"""The import closure and the hash of the code behind resume keys."""

import ast

import pytest
from places import ROOT

from l2dynamics import __getattr__ as lazy
from l2dynamics.results import source_code


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the same name with imports of every form."""
    folder = tmp_path / "l2dynamics"
    files = {
        "__init__.py": "",
        "a.py": '"""A."""\nfrom l2dynamics import b\nfrom l2dynamics.sub.c import thing\nimport os\n',
        "b.py": "def f():\n    import l2dynamics.d\n    return 1\n",
        "d.py": "from l2dynamics import a\nfrom l2dynamics.experiments import fields\n",
        "experiments/__init__.py": "",
        "experiments/fields.py": "limit = 1\n",
        "e.py": "x = 1\n",
        "sub/__init__.py": "from l2dynamics.sub import f\n",
        "sub/c.py": "thing = 3\n",
        "sub/f.py": "",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.setattr(source_code, "PACKAGE", folder)
    source_code._imports.cache_clear()
    yield folder
    source_code._imports.cache_clear()


def edit(package, name, content):
    (package / name).write_text(content)
    source_code._imports.cache_clear()


def test_closure_follows_imports_of_every_form_and_cycles(package):
    script = package.parent / "stage.py"
    script.write_text("from l2dynamics import a\n")
    names = [file.relative_to(package.parent).as_posix() for file in source_code.closure(script)]
    inside = [
        "__init__",
        "a",
        "b",
        "d",
        "experiments/__init__",
        "experiments/fields",
        "sub/__init__",
        "sub/c",
    ]
    inside.append("sub/f")
    assert names == [*(f"l2dynamics/{name}.py" for name in inside), "stage.py"]


def test_the_key_is_that_of_the_code_and_not_of_its_words(package):
    before = source_code.code_key("l2dynamics.a")
    edit(package, "e.py", "x = 2\n")  # not imported
    edit(package, "experiments/fields.py", "limit = 2\n")  # in the key by value
    edit(
        package,
        "a.py",
        '"""Other words."""\nfrom l2dynamics import b  # why\nfrom l2dynamics.sub.c import thing\nimport os\n',
    )
    assert source_code.code_key("l2dynamics.a") == before
    for name, content in (
        ("b.py", "def f():\n    import l2dynamics.d\n    return 2\n"),
        ("sub/c.py", "thing = 4\n"),
    ):
        old = (package / name).read_text()
        edit(package, name, content)
        assert source_code.code_key("l2dynamics.a") != before, name
        edit(package, name, old)
    assert source_code.code_key("l2dynamics.a") == before


def test_the_fingerprint_is_the_same_in_every_version_of_python(tmp_path):
    """The texts were compared under 3.11, 3.12 and 3.13: ast.unparse and ast.dump differ in them."""
    file = tmp_path / "code.py"
    file.write_text(
        """def f(x: int, *, w=None) -> str:\n    return f"{x['a']!r:>{w}} it's" + 'b'\nclass C: pass\n"""
    )
    assert source_code._plain(ast.parse(file.read_text()).body[1]) == "ClassDef(name='C',body=[Pass()])"
    known = "3712c424c1892af64a6a9ab003f3d3c4a4e4aa97ad4349bc4ca49af131643797"
    assert source_code.fingerprint(file) == known


def test_the_resume_key_covers_everything_that_trains():
    files = source_code.closure(source_code.PACKAGE / "training" / "sharded.py")
    names = {file.relative_to(source_code.PACKAGE).as_posix() for file in files}
    training = ("trainer", "update", "evaluation", "losses", "regularization", "augmentation")
    models = ("layers", "layout", "convolution", "fusion_barrier", "fc", "cnn", "wide_resnet", "resnet")
    wanted = {
        *(f"training/{name}.py" for name in training),
        *(f"models/{name}.py" for name in models),
        "autol2.py",
        "data/datasets.py",
    }
    assert names >= wanted
    for room in ("running", "pipeline", "figures", "tracking"):
        assert not [name for name in names if name.startswith(f"{room}/")], "these change no number"


def sources():
    return sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").glob("*.py")])


@pytest.mark.parametrize("file", sources(), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_the_closure_sees_every_import(file):
    """No relative imports and none of the lazily exported names: the closure would miss their modules."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            if node.module == "l2dynamics":
                for alias in node.names:
                    module = source_code.PACKAGE / alias.name
                    is_module = module.with_suffix(".py").is_file() or (module / "__init__.py").is_file()
                    assert is_module or alias.name == "__version__", f"line {node.lineno}: {alias.name}"


def test_lazy_exports_exist():
    assert callable(lazy("AutoL2"))
