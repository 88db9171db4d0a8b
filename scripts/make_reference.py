"""Write docs/reference/: every parameter, stage and claim, from the code that checks or makes them.

Usage: ``python scripts/make_reference.py``; `make docs` calls it. The pages are not tracked by git.
"""

import inspect
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from l2dynamics import paths
from l2dynamics.claims import evaluation
from l2dynamics.experiments import registry, scales, schema
from l2dynamics.pipeline import dag
from l2dynamics.report import document, words
from l2dynamics.theory.schema import TheoryConfig

SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("params.yaml", "What does not depend on the scale.", scales.Params),
    (
        "A sweep",
        "Sections `fc`, `cnn`, `wrn_aug` … of `scales/<scale>.yaml`; `setup: {from: fc, …}` changes `setups.fc`.",
        schema.Sweep,
    ),
    ("AutoL2 against constant λ", "Sections `autol2.fc`, `autol2.wrn` …", schema.AutoL2Sweep),
    ("Measuring c", "Section `measure_c`.", schema.MeasureCs),
    ("Theory", "Section `theory`.", TheoryConfig),
)


def models(root: type[BaseModel]) -> list[type[BaseModel]]:
    """Return a model and every model inside it, in order of appearance."""
    found: list[type[BaseModel]] = []
    pending = [root]
    while pending:
        model = pending.pop(0)
        if model not in found:
            found.append(model)
            pending += [part for field in model.model_fields.values() for part in _parts(field.annotation)]
    return found


def _parts(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _parts(part)


def type_name(annotation: Any, constraints: Sequence[Any] = ()) -> str:
    """Return a type as one would say it: ``list of number > 0``."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_name(inside[0], inside[1:])
    if origin is typing.Literal:
        name = " or ".join(f"`{value}`" for value in inside)
    elif origin in (typing.Union, types.UnionType):
        name = " or ".join(type_name(part) for part in inside if part is not type(None))
        return name + (" or nothing" if type(None) in inside else "")
    elif origin is tuple:
        same = inside[-1] is Ellipsis or len(set(inside)) == 1
        name = "list of " + (type_name(inside[0]) if same else ", ".join(map(type_name, inside)))
    elif origin is dict:
        name = f"mapping of {type_name(inside[0])} to {type_name(inside[1])}"
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    else:
        name = {float: "number", int: "whole number", bool: "true or false", str: "text"}.get(
            annotation, str(annotation)
        )
    return name + _limits(constraints)


def _limits(constraints: Sequence[Any]) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    said = []
    for one in constraints:
        flat = one.metadata if isinstance(one, FieldInfo) else [one]
        said += [
            f"{sign} {getattr(part, key)}"
            for part in flat
            for key, sign in signs.items()
            if hasattr(part, key)
        ]
        said += [f"at least {part.min_length}" for part in flat if getattr(part, "min_length", 0) > 1]
    return " " + " and ".join(said) if said else ""


def comments(model: type[BaseModel]) -> dict[str, str]:
    """Return what the lines of comment above the fields of a model say."""
    found: dict[str, str] = {}
    said: list[str] = []
    for line in inspect.getsource(model).splitlines():
        text = line.strip()
        if text.startswith("# "):
            said.append(text[2:])
        elif field := re.match(r"(\w+):", text):
            found[field[1]] = " ".join(said)
            said = []
        else:
            said = []
    return found


def parameters() -> str:
    """Return the page of all parameters."""
    parts = [
        "# Every parameter",
        "Unknown keys, wrong types and values out of range are refused before anything runs.",
    ]
    done: set[type[BaseModel]] = set()
    for title, text, root in SECTIONS:
        parts += [f"## {title}", text]
        for model in models(root):
            if model in done:
                continue
            done.add(model)
            about = comments(model)
            rows = []
            for name, field in model.model_fields.items():
                default = "required" if field.is_required() else _default(field)
                kind = type_name(field.annotation, field.metadata)
                rows.append((f"`{name}`", kind, default, about.get(name, "")))
            parts += [f"### {model.__name__}", inspect.cleandoc(model.__doc__ or "").replace("``", "`")]
            parts.append(table(("parameter", "type", "default", "meaning"), rows))
    return "\n\n".join(parts) + "\n"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "nothing"
    if isinstance(value, BaseModel):
        return "its defaults"
    shown = (
        str(list(value))
        if isinstance(value, tuple)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
    return f"`{shown}`"


def stages(root: Path) -> str:
    """Return the page of all stages."""
    parts = [
        "# Every stage",
        "`dvc repro NAME` makes one and what it needs; code dependencies are left out here.",
    ]
    for name, stage in dag.read(root)["stages"].items():
        body = stage.get("do", stage)
        parts.append(f"## {name}")
        if "foreach" in stage:
            each = stage["foreach"]
            parts.append("One for each of " + ", ".join(f"`{name}@{key}`" for key in each) + ".")
        if rows := experiments(name):
            parts.append(table(("stage", "network", "data", "figures", "section of the paper"), rows))
        parts.append(f"{body['desc']}.")
        rows = [("command", f"`{body['cmd']}`")]
        for label, keys in (
            ("parameters", ("params",)),
            ("reads", ("deps",)),
            ("writes", ("outs", "plots", "metrics")),
        ):
            said = [entry for key in keys for entry in body.get(key, []) for entry in _entries(entry)]
            said = [one for one in said if not one.endswith(".py")]
            rows.append((label, "<br>".join(f"`{one}`" for one in said) or "–"))
        parts.append(table(("", ""), rows))
    return "\n\n".join(parts) + "\n"


def experiments(kind: str) -> list[tuple[str, ...]]:
    """Return what the paper's experiments of one kind of stage are, a row each."""
    sections = {group.name: group.section for group in registry.GROUPS}
    return [
        (
            f"`{one.stage}`",
            one.title,
            ", ".join(registry.DATASETS[name] for name in one.data),
            ", ".join(one.panels),
            sections[one.group],
        )
        for one in registry.EXPERIMENTS
        if one.kind == kind
    ]


def _entries(entry: Any) -> list[str]:
    if isinstance(entry, Mapping):
        ((path, options),) = entry.items()
        if isinstance(options, Sequence) and not isinstance(options, str):
            return [f"{path}: {key}" for key in options]
        return [str(path)]
    return [str(entry)]


def every_claim(root: Path) -> str:
    """Return the page of all claims: criterion, numbers, verdict."""
    parts = [
        "# Every claim",
        "Claims 01 to 18 are the paper's, c1 and so on our own, x1 and so on beyond the paper; "
        "the text is the criterion by which each was judged. "
        "Verdicts and numbers are those of the committed results; a table of them is in the report.",
    ]
    for id, record in evaluation.read(paths.claims(root)).items():
        row = document.row(0, id, record)
        numbers = f"Paper {row.paper}, ours {row.measured}, interval {row.interval}, n = {row.n}"
        numbers += f", scale {record['scale']}"
        shown = ", ".join(row.figures)
        parts += [
            f"## {id}",
            words.escape_markdown(row.text),
            f"**{row.verdict.label}**: {words.escape_markdown(row.reason)}. {numbers}; figures: {shown}.",
        ]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [
        head,
        ["---"] * len(head),
        *([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Write the three pages."""
    root = paths.find_root()
    folder = root / "docs" / "reference"
    folder.mkdir(exist_ok=True)
    pages = {"parameters": parameters(), "stages": stages(root), "claims": every_claim(root)}
    for name, page in pages.items():
        (folder / f"{name}.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
