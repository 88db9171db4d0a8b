"""Setups by name: ``setup: {from: wrn, momentum: 0.9}`` is the setup ``wrn`` of ``setups:`` with another momentum.

Names are plain values: DVC sees what a stage inherits as one more parameter, ``setups.wrn``, and `dvc exp run -S`
changes one value where it stands. An anchor of YAML it would write out wherever it is used.
"""

from collections.abc import Mapping
from typing import Any

SETUPS = "setups"
FROM = "from"


class InheritanceError(ValueError):
    """A setup cannot be inherited; the message is one line that names field and remedy."""


def resolve(content: Mapping[str, Any], section: Any, name: str) -> tuple[Any, dict[str, Any]]:
    """Fill in what a section of a scale file inherits.

    What stands beside ``from`` wins. Inside ``data``, ``model`` and ``schedule`` it wins value by value, but a model of
    another ``kind`` replaces the whole model, and a schedule of another ``shape`` the whole schedule. A setup of
    ``setups:`` may inherit too, from one that does not.

    Args:
        content: the whole file.
        section: one section, with a ``setup`` or, as ``measure_c``, with parts that have one.
        name: of the section, for messages.

    Returns:
        The section with complete setups, and the setups it inherits by name, each after the one it inherits itself.

    Raises:
        InheritanceError: ``from`` names no setup, or one whose own base inherits.
    """
    inherited: dict[str, Any] = {}
    if isinstance(section, Mapping):
        section = _filled(content, section, f"{name}: ", inherited)
        section = {
            key: _filled(content, part, f"{name}: {key}.", inherited) if str(key).isidentifier() else part
            for key, part in section.items()
        }
    return section, inherited


def _filled(content: Mapping[str, Any], part: Any, where: str, inherited: dict[str, Any]) -> Any:
    setup = part.get("setup") if isinstance(part, Mapping) else None
    if not isinstance(setup, Mapping) or FROM not in setup:
        return part
    name, base = _named(content, setup[FROM], f"{where}setup.{FROM}")
    if FROM in base:
        root, base_of_base = _named(content, base[FROM], f"{SETUPS}.{name}: {FROM}")
        if FROM in base_of_base:
            raise InheritanceError(
                f"{SETUPS}.{name}: {FROM}: {root} inherits a setup itself: name one without {FROM}"
            )
        inherited[root] = base_of_base
        base = _merged(base_of_base, base)
    inherited[name] = base
    return {**part, "setup": _merged(base, setup)}


def _named(content: Mapping[str, Any], name: Any, where: str) -> tuple[str, Mapping[str, Any]]:
    setups = content.get(SETUPS)
    if not isinstance(setups, Mapping) or not setups:
        raise InheritanceError(f"{where}: there is no setup to inherit: add a section {SETUPS} with one")
    if not isinstance(name, str) or name not in setups:
        known = ", ".join(known for known in map(str, setups) if known.isprintable())
        raise InheritanceError(f"{where}: {repr(name)[:60]} is not in {SETUPS}: choose one of {known}")
    base = setups[name]
    if not isinstance(base, Mapping):
        raise InheritanceError(
            f"{SETUPS}.{name}: must be a mapping (got {repr(base)[:60]}): write data, model, …"
        )
    return name, base


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**base, **changes}
    del merged[FROM]
    for key, new in changes.items():
        old = base.get(key)
        if not isinstance(old, Mapping) or not isinstance(new, Mapping):
            continue
        if all(new.get(which, old.get(which)) == old.get(which) for which in ("kind", "shape")):
            merged[key] = {**old, **new}
    return merged
