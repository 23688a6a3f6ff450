"""A workspace's key is rotated while it is mounted."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from protocol.sealing import key_id_of
from tests.real.harness import Mount
from tests.real.world import World

SEALED_ANEW_S = 60.0

FILES: Mapping[str, bytes] = {
    **{f"small {number}": b"%d" % number for number in range(20)},
    **{f"large {number}": random.Random(number).randbytes((2 + number) << 20) for number in range(4)},
}


def write(mount: Mount, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (mount.path / name).write_bytes(content)


def read(mount: Mount) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(mount.path.iterdir())}


def wait_sealed_anew(world: World) -> None:
    """Until no block is under an older key."""
    deadline = time.monotonic() + SEALED_ANEW_S
    while True:
        [home] = json.loads(world.admin.run("workspace", "list", "--json").stdout)
        if home.get("old_blocks", 0) == 0:
            return
        assert time.monotonic() < deadline, home


def keys_in(folder: Path) -> set[int]:
    """What the objects of the block store are sealed under."""
    return {key_id_of(path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_mounts_go_on_while_a_key_is_rotated_and_know_it_without_the_server(own_world: World) -> None:
    desk, laptop = own_world.mount("desk"), own_world.mount("laptop")
    write(desk, FILES)
    store = own_world.server.data / "blocks"
    assert keys_in(store) == {1}
    wrong: list[str] = []
    ended = threading.Event()

    def look() -> None:
        """Read what was never read before on that mount, while it is being sealed anew."""
        while not ended.is_set():
            wrong.extend(name for name, content in read(laptop).items() if content != FILES[name])

    reader = threading.Thread(target=look)
    own_world.admin.run("workspace", "rotate-key", "home")
    reader.start()
    try:
        wait_sealed_anew(own_world)
    finally:
        ended.set()
        reader.join()
    assert wrong == []
    assert keys_in(store) == {2}

    more = {f"more {name}": content[::-1] for name, content in FILES.items()}
    write(desk, more)
    assert read(laptop) == {**FILES, **more}
    laptop.remount_empty()
    assert read(laptop) == {**FILES, **more}

    desk.log.expect(r"can't be reached|is not renewed")
    laptop.log.expect(r"can't be reached|is not renewed")
    for mount in (desk, laptop):
        assert read(mount) == {**FILES, **more}
        mount.unmount()
    own_world.server.kill()
    for mount in (desk, laptop):
        mount.start()
        assert read(mount) == {**FILES, **more}
