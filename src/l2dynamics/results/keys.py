"""Keys: hashes of everything that numbers depend on, so that what is finished is never repeated and never mixed up."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from l2dynamics.results import machine
from l2dynamics.results.source_code import code_key


def digest(value: Any) -> str:
    """SHA-256 of what JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def key(parts: Mapping[str, Any], *modules: str, packages: Sequence[str] = ()) -> str:
    """Hash of ``parts``, of the code that ``modules`` execute, and of versions and environment.

    Args:
        parts: what the numbers depend on besides: configuration, data, seeds.
        modules: full names, see :func:`l2dynamics.results.source_code.code_key`.
        packages: whose versions count, besides those of all results.
    """
    return digest(
        {
            **parts,
            "code": code_key(*modules),
            "versions": machine.versions(*packages),
            "environment": machine.environment(),
        }
    )
