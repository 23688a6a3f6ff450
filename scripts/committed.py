"""Looks through what git tracks for things that are true on one machine only; status 1 where it finds any.

Those are absolute paths of somebody's home or of a working folder, and addresses of package indexes: which one a
machine uses is its own matter, and hashes say whether the right bytes came.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

# Written in pieces, so that this file does not find itself.
FORBIDDEN: Final = {
    "a path of one machine": re.compile(r"/(?:home|Users)/[a-z][\w-]*/|/" r"work/|/ro" r"ot/|/tmp/[a-zA-Z]\b/"),
    "an address of a package index": re.compile(
        r"(?i)--(?:extra-)?index"
        r"-url[ =]\S+|--find"
        r"-links[ =]\S+|https?://[^\s\"'<>]*(?:py"
        r"pi|artifact|/sim"
        r"ple)"
    ),
}


def findings(path: Path, text: str) -> list[str]:
    """Each as `path:line: what it is`, for one file's text."""
    return [
        f"{path}:{number}: {what}: {match.group()}"
        for number, line in enumerate(text.splitlines(), start=1)
        for what, pattern in FORBIDDEN.items()
        if (match := pattern.search(line))
    ]


def main() -> int:
    """Look through every tracked text file."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    found: list[str] = []
    for name in listed.decode().split("\0"):
        path = ROOT / name
        if not name or path.is_symlink() or not path.is_file():
            continue
        try:
            found += findings(path.relative_to(ROOT), path.read_text())
        except UnicodeDecodeError:
            continue
    print("\n".join(found) or "nothing of one machine only is tracked")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
