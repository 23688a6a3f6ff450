"""Mounts the in-memory drive at DIR and obeys its standard input: a program for tests, run as a process of its own.

One line of JSON a command, answered by one line: the kernel has been told by then. ``--no-epoch`` and
``--strict``: as samedrive mount.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import cast

import trio

from backend.drive import Drive
from fs.mounting import MountOptions, serve_mount
from tests.fs.fake_drive import FakeDrive


async def obey(drive: FakeDrive) -> None:
    stdin = trio.wrap_file(sys.stdin)
    async for line in stdin:
        command = json.loads(line)
        name = command.get("name", "").encode()
        match command["do"]:
            case "write":
                await drive.by_another(name, command["content"].encode())
            case "remove":
                await drive.removed_by_another(name)
            case "chmod":
                await drive.chmod_by_another(name, command["mode"])
            case "overtaken":
                # The next look-up's answer is overtaken by another device's change.
                async def overtake(what: str, content: bytes = command["content"].encode(), name: bytes = name) -> None:
                    if what == "lookup":
                        drive.before_answer = None
                        await drive.by_another(name, content)

                drive.before_answer = overtake
            case "overtaken by chmod":
                mode = command["mode"]

                async def chmod(what: str, name: bytes = name, mode: int = mode) -> None:
                    if what == "lookup":
                        drive.before_answer = None
                        await drive.chmod_by_another(name, mode)

                drive.before_answer = chmod
            case "fail":
                failing = command["at"]

                async def fail(what: str, failing: str = failing) -> None:
                    if what == failing:
                        drive.before_answer = None
                        raise ZeroDivisionError(what)

                drive.before_answer = fail
            case "calls":
                print(json.dumps(drive.calls), flush=True)
                drive.calls.clear()
                continue
        print("done", flush=True)


async def main(folder: Path, *, use_epoch: bool, strict: bool) -> None:
    drive = FakeDrive(strict=strict)
    await serve_mount(
        cast(Drive, drive),
        folder,
        MountOptions(use_epoch=use_epoch, allow_other=True),
        lambda: obey(drive),
        lambda: print("ready", flush=True),
    )


if __name__ == "__main__":
    trio.run(lambda: main(Path(sys.argv[1]), use_epoch="--no-epoch" not in sys.argv, strict="--strict" in sys.argv))
