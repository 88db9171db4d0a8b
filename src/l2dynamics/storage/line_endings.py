"""Files of the checkout whose checksum fails only because git converted their line endings."""

import hashlib

CONVERTED = (
    "line endings were converted (git's core.autocrlf); commit your changes, then run "
    "`git config core.autocrlf false && git rm -rq --cached . && git reset -q --hard`"
)
"""Reason and remedy; after the setting alone, `git checkout` takes the converted files as up to date."""


def converted(content: bytes, sha256: str) -> bool:
    """Tell whether ``content`` would have the checksum with the line ends LF in place of CRLF."""
    return b"\r\n" in content and hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest() == sha256
