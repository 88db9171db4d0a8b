"""One line for the user: what is wrong with a value, where it stands, and what to write instead."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError


class ConfigError(ValueError):
    """A value in a configuration file cannot be used; the message is one line for the user."""


Section = TypeVar("Section", bound=BaseModel)


_REMEDIES = (  # by the beginning of pydantic's name of the problem
    ("missing", "add it"),
    ("int", "write a whole number, without unit or quotes"),
    ("float", "write a number, without unit or quotes"),
    ("finite", "write a finite number"),
    ("bool", "write true or false"),
    ("tuple", "write a list, such as [0.1]"),
    ("dict", "write a mapping {name: value}"),
    ("model", "write a mapping {name: value}"),
    ("literal", "choose one of these"),
    ("union_tag_invalid", "choose one of these"),
    ("union_tag", "add kind: fc, cnn, wrn or resnet"),
    ("greater", "raise it"),
    ("less", "lower it"),
    ("too_short", "add a value"),
    ("too_long", "remove some"),
    ("string", "write a text"),
    ("schedule", "write {factor: 0.2, at: [0.3, 0.6]} or {shape: cosine}"),
)


def _remedy(problem: Any, known: Sequence[str]) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "value_error":
        return ""  # our own messages say it
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, 1)
        return f": write {close[0]} or remove it" if close else ": remove it"
    if kind == "less_than" and context.get("lt") == 1:
        return ": give a fraction, such as 0.3"
    return f": {next((remedy for start, remedy in _REMEDIES if kind.startswith(start)), 'correct it')}"


def _field(location: Sequence[Any], content: Any, missing: bool) -> str:
    """The path of a value as it stands in the file: pydantic adds the kind of a model, which is no key there."""
    parts = []
    for index, part in enumerate(location):
        last = missing and index == len(location) - 1
        inside = part in content if isinstance(content, dict) else isinstance(part, int)
        if not (inside or last):
            continue
        text = str(part)
        parts.append(text if text.isprintable() and len(text) < 60 else f"{text[:60]!r}")
        try:
            content = content[part]
        except (LookupError, TypeError):
            content = None
    return ".".join(parts)


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel) or (isinstance(value, dict) and value):
        return ""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits, a mapping that holds itself
        text = type(value).__name__
    return f" (got {text if len(text) <= 80 else text[:79] + '…'})"


def _complaints(error: ValidationError, section: type[BaseModel], content: Any) -> Iterator[str]:
    schema = section.model_json_schema()
    models = [schema, *schema.get("$defs", {}).values()]
    known = sorted({name for model in models for name in model.get("properties", {})})
    for problem in error.errors(include_url=False):
        field = _field(problem["loc"], content, problem["type"] == "missing")
        message = " ".join(problem["msg"].removeprefix("Value error, ").split())
        # A rule between fields names them and their values itself.
        shown = "" if problem["type"] in {"missing", "value_error"} else _shown(problem.get("input"))
        yield f"{field + ': ' if field else ''}{message}{shown}{_remedy(problem, known)}"


def check(section: type[Section], content: Any, where: str) -> Section:
    """Validate ``content`` as ``section``; ``where`` names file and section in the message.

    Raises:
        ConfigError: one line with every complaint.
    """
    try:
        return section.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(_complaints(error, section, content))) from error
