"""Set ``scale:`` or the figures' ``style:`` in params.yaml, leaving every other byte (and an unchanged file) alone.

Usage: ``python scripts/set_scale.py SCALE`` or ``python scripts/set_scale.py --style STYLE``, run in the checkout.
"""

import re
import sys
from collections.abc import Sequence

from l2dynamics import paths
from l2dynamics.experiments import scales

STYLES = ("paper", "slides")


def set_scale(text: str, scale: str) -> str:
    """Return the content of params.yaml with another scale; comments and spaces stay.

    Raises:
        ValueError: the scale is unknown, or there is not exactly one line ``scale: NAME``.
    """
    return _set(text, "scale", scale, scales.SCALES, "")


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
    after = set_style(before, value) if style else set_scale(before, value)
    if after != before:
        partial = path.with_suffix(".partial")
        partial.write_bytes(after.encode())
        partial.replace(path)
        print(f"params.yaml: {'style' if style else 'scale'} is now {value}")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
