"""The installed program: in the wheel this file is ``samedrive/__init__.py``, beside the program's own folders.

The program's modules import each other from its root (``from protocol.ids import NodeId``), as in a checkout. So this
puts that root first on the path of this process alone: nothing named ``fs`` or ``server`` is importable elsewhere.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Run the program with the process's arguments; does not return."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import mount

    mount.main()
