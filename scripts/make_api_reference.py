"""Write docs/api.md from the docstrings of the public names: ``python scripts/make_api_reference.py``."""

import ast
import importlib
import inspect
import re
import sys
from pathlib import Path

from numpy.typing import ArrayLike

import l2dynamics
from l2dynamics.training import numerics

TARGET = Path(__file__).parents[1] / "docs" / "api.md"
# (heading, module, names): what a user of the library may rely on.
SECTIONS = (
    ("Predicting the coefficient", "l2dynamics.suggestion.suggest", ("suggest_l2",)),
    ("", "l2dynamics.suggestion.answer", ("Suggestion", "NoPeakError")),
    ("", "l2dynamics.suggestion.probes", ("Probe", "judge")),
    ("", "l2dynamics.suggestion.runs", ("Run",)),
    ("", "l2dynamics.prediction", ("predict_l2", "measure_c", "t_star")),
    ("AutoL2", "l2dynamics.autol2", ("AutoL2", "AutoL2State")),
    (
        "",
        "l2dynamics.autol2_optax",
        ("auto_l2", "current_l2", "mean_measurements", "AutoL2TransformState", "MeanMeasurementsState"),
    ),
    ("Flax NNX", "l2dynamics.flax", ("make_run",)),
    ("Theory", "l2dynamics.theory.solution", ("mode_evolution",)),
)
# The same of modules whose packages need not be here: read, not imported.
UNIMPORTED = (
    ("PyTorch", "torch", ("make_run", "AutoL2", "set_l2", "decayed_groups", "rates")),
    ("Lightning", "lightning", ("AutoL2Callback",)),
)
SOURCE = Path(__file__).parents[1] / "src" / "l2dynamics"
_BLOCKS = ("Args", "Attributes", "Returns", "Raises", "Warns", "Examples", "References")


class _Name(str):
    """An annotation that is shown without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def signature(name: str, item: object) -> str:
    """Return the call as it is written, without module prefixes."""
    try:
        found = inspect.signature(item)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return name
    # Some versions of Python write the union out that ArrayLike stands for.
    named = [
        parameter.replace(annotation=_Name("ArrayLike")) if parameter.annotation == ArrayLike else parameter
        for parameter in found.parameters.values()
    ]
    text = str(found.replace(parameters=named))
    text = re.sub(r"\b(?:[a-z_0-9]+\.)+(?=[A-Za-z_])", "", text)
    text = re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", text)
    return f"{name}{text}"


def markdown(docstring: str) -> str:
    """Turn a Google-style docstring into Markdown: roles become code, blocks become headed lists.

    A blank line ends the expected output of a doctest, so that the closing fence is not taken for a part of it.
    """
    text = re.sub(r":[a-z]+:`~?([^`]+)`", r"`\1`", inspect.cleandoc(docstring))
    text = re.sub(r"`([^`<]+?)\s*<(https?://[^>]+)>`_", r"[\1](\2)", text.replace("``", "`"))
    text = re.sub(r"::$", ":", text, flags=re.M)
    lines: list[str] = []
    block = ""
    for line in text.split("\n"):
        if line.rstrip(":") in _BLOCKS and line.endswith(":"):
            block = line[:-1]
            lines += [f"**{block}**", ""]
        elif block in ("Args", "Attributes", "Raises", "Warns") and (
            entry := re.match(r"    (\w+): (.*)", line)
        ):
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        elif block == "Examples":
            lines.append(line[4:])
        elif block:
            lines.append(
                line.strip() if not lines[-1].startswith(("- ", "  ")) else f"  {line.strip()}".rstrip()
            )
        else:
            lines.append(line)
    return re.sub(
        r"((?:^(?:>>>|\.\.\.) .*\n(?:^(?!>>>)\S.*\n)*)+)",
        r"```pycon\n\1\n```\n",
        "\n".join(lines) + "\n",
        flags=re.M,
    )


def members(name: str, item: type, module_name: str) -> list[str]:
    """Return the public methods and properties of a class that its module defines."""
    parts = []
    for own, value in inspect.getmembers(item):
        bare = inspect.unwrap(getattr(value, "__func__", value))
        if own.startswith("_") or not (inspect.isfunction(bare) or isinstance(value, property)):
            continue
        if isinstance(value, property):
            if own not in vars(item):
                continue
            parts.append(f"#### {name}.{own}")
        elif bare.__module__ != module_name:
            continue
        else:
            call = signature(own, value).replace("(self, ", "(").replace("(self)", "()")
            parts += [f"#### {name}.{own}", f"```python\n{call}\n```"]
        parts.append(markdown(inspect.getdoc(value) or "").strip())
    return parts


def read(node: ast.FunctionDef | ast.ClassDef, path: str) -> list[str]:
    """Return the entry of a function or a class, with its public methods, from its source."""
    inner = [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.FunctionDef)]
    call: ast.AST | None = node
    if isinstance(node, ast.ClassDef):
        call = next((one for one in inner if one.name == "__init__"), None)
    parts = [f"### {node.name}", f"`{path}`"]
    parts += [f"```python\n{_call(node.name, call)}\n```"] if isinstance(call, ast.FunctionDef) else []
    parts.append(markdown(ast.get_docstring(node) or "").strip())
    for one in inner if isinstance(node, ast.ClassDef) else ():
        if not one.name.startswith("_"):
            parts.append(f"#### {node.name}.{one.name}")
            if not any(isinstance(mark, ast.Name) and mark.id == "property" for mark in one.decorator_list):
                parts.append(f"```python\n{_call(one.name, one)}\n```")
            parts.append(markdown(ast.get_docstring(one) or "").strip())
    return [part for part in parts if part]


def _call(name: str, node: ast.FunctionDef) -> str:
    arguments = re.sub(r"^self(, )?", "", ast.unparse(node.args))
    result = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    return f"{name}({arguments}){result}"


def render() -> str:
    """Return the whole page."""
    parts = [
        "# API reference",
        "Made from the docstrings by `scripts/make_api_reference.py`. The examples are run by the tests.",
    ]
    for heading, module_name, names in SECTIONS:
        module = importlib.import_module(module_name)
        if heading:
            parts.append(f"## {heading}")
        for name in names:
            item = getattr(module, name)
            parts += [f"### {name}", f"`{module_name}.{name}`", f"```python\n{signature(name, item)}\n```"]
            home = "l2dynamics" if name in l2dynamics.__all__ else module_name
            text = markdown(inspect.getdoc(item) or "").strip()
            parts.append(text.replace("```pycon\n", f"```pycon\n>>> from {home} import {name}\n", 1))
            if inspect.isclass(item):
                parts += members(name, item, module_name)
    for heading, module_name, names in UNIMPORTED:
        parts.append(f"## {heading}")
        tree = ast.parse((SOURCE / f"{module_name}.py").read_text(encoding="utf-8"))
        found = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        for name in names:
            parts += read(found[name], f"l2dynamics.{module_name}.{name}")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    numerics.configure()
    page = render()
    if "--check" in sys.argv:
        if not TARGET.is_file() or TARGET.read_text() != page:
            sys.exit(f"{TARGET.name} is not up to date: run python scripts/make_api_reference.py")
    else:
        TARGET.write_text(page)
