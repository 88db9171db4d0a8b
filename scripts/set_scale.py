"""Set ``scale:`` or the figures' ``style:`` in params.yaml, leaving every other byte (and an unchanged file) alone.

With the scale change ``data.source``, to that which the scale needs, and ``dvc.lock``: what DVC knows about the other
scales lies in ``scales/locks``, so that their results stay up to date.

Usage: ``python scripts/set_scale.py SCALE`` or ``python scripts/set_scale.py --style STYLE``, run in the checkout.
"""

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from l2dynamics import paths
from l2dynamics.experiments import scales

STYLES = ("paper", "slides")


def set_scale(text: str, scale: str) -> str:
    """Return the content of params.yaml with another scale; comments and spaces stay.

    Raises:
        ValueError: the scale is unknown, or there is not exactly one line ``scale: NAME``.
    """
    return _set(text, "scale", scale, scales.SCALES, "")


def set_source(text: str, source: str) -> str:
    """Return the content of params.yaml with another source of the data; comments and spaces stay.

    Raises:
        ValueError: there is not exactly one indented line ``source: NAME``.
    """
    return _set(text, "source", source, ("sample", "tfds"), "[ \t]+")


def swap_locks(root: Path, before: str, after: str) -> None:
    """Put ``dvc.lock`` away as that of the scale ``before``, and that of ``after`` in its place.

    Without one the old stays: what does not depend on the scale is still up to date.
    """
    lock, locks = root / "dvc.lock", root / "scales" / "locks"
    kept, wanted = locks / f"{before}.lock", locks / f"{after}.lock"
    unused = lock.exists() and wanted.exists() and lock.read_bytes() == wanted.read_bytes()
    if lock.exists() and not unused:  # a scale that was in force and ran nothing leaves no trace
        locks.mkdir(exist_ok=True)
        partial = kept.with_suffix(".partial")
        shutil.copyfile(lock, partial)
        partial.replace(kept)
    if wanted.exists():  # it goes when params.yaml has the scale: an interruption in between loses no lock
        shutil.copyfile(wanted, lock.with_suffix(".partial"))
        lock.with_suffix(".partial").replace(lock)


def set_style(text: str, style: str) -> str:
    """Return the content of params.yaml with another style of the figures; comments and spaces stay.

    Raises:
        ValueError: the style is unknown, or there is not exactly one indented line ``style: NAME``.
    """
    return _set(text, "style", style, STYLES, "[ \t]+")


def _set(text: str, key: str, value: str, allowed: Sequence[str], indent: str) -> str:
    if value not in allowed:
        raise ValueError(f"{key.upper()}: {value!r} is unknown, choose one of {', '.join(allowed)}")
    changed, count = re.subn(rf"^({indent}{key}:[ \t]*)[^\s#]+", rf"\g<1>{value}", text, flags=re.MULTILINE)
    if count != 1:
        raise ValueError(f"params.yaml: {count} lines begin with `{key}: NAME`, one is needed")
    return changed


def main() -> None:
    """Rewrite params.yaml if the scale, or the style, differs."""
    style = sys.argv[1:2] == ["--style"]
    if len(sys.argv) != 2 + style:
        raise ValueError("usage: python scripts/set_scale.py SCALE, or --style STYLE")
    value = sys.argv[-1]
    path = paths.find_root() / "params.yaml"
    # Bytes, so that line ends stay as they are.
    before = path.read_bytes().decode()
    root, known = path.parent, paths.scale(path.parent)
    after = set_style(before, value) if style else set_scale(before, value)
    if after != before:
        if not style:
            after = set_source(after, scales.source(root, value))
            swap_locks(root, known, value)
        partial = path.with_suffix(".partial")
        partial.write_bytes(after.encode())
        partial.replace(path)
        if not style:
            (root / "scales" / "locks" / f"{value}.lock").unlink(missing_ok=True)
        print(f"params.yaml: {'style' if style else 'scale'} is now {value}")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
