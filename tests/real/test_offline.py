"""Mounts without their server: what is cached goes on, what is done is kept and arrives when it is back."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.harness import Mount
from tests.real.world import World

LEASE_S = 1.0
DEADLINE_S = 5.0
NOTICED_S = LEASE_S + 6.0
"""A poll that gets no answer is given up, and then a small question."""

BUSY_S = 5.0
"""What a busy machine may add."""

APART = r"can't be reached|is not renewed"


@pytest.fixture
def world(new_own_world: Callable[..., World]) -> World:
    """One whose server gives short leases, and may be killed."""
    return new_own_world("--lease-s", f"{LEASE_S:g}")


class Laptop:
    """A mount, and what takes its server away and gives it back."""

    def __init__(self, world: World, fault: str, *flags: str) -> None:
        self.world = world
        self.fault = fault
        self.mount, self.wire = world.wired("laptop", "--deadline", f"{DEADLINE_S:g}", *flags)
        self.mount.log.expect(APART)

    @property
    def path(self) -> Path:
        return self.mount.path

    def lose_server(self) -> float:
        """Returns after how many seconds the mount said that it is offline."""
        self.take_server_away()
        began_s = time.monotonic()
        self.mount.until(lambda status: status["state"] == "offline", NOTICED_S + BUSY_S, "offline")
        return time.monotonic() - began_s

    def take_server_away(self) -> None:
        if self.fault == "server killed":
            self.world.server.kill()
        else:
            self.wire.swallow()

    def get_server_back(self) -> None:
        """Returns when all that was done offline is at the server."""
        if self.fault == "server killed":
            self.world.server.start()
        else:
            self.wire.heal()
        self.mount.wait()
        self.mount.until(lambda status: status["state"] == "online", 30, "online")

    def die_and_start(self) -> None:
        """Power is not lost; its program is killed."""
        self.mount.kill()
        self.mount.start()


FAULTS = ("server killed", "packets swallowed")

every_fault = pytest.mark.parametrize("laptop", FAULTS, indirect=True)


@pytest.fixture(params=FAULTS[:1])
def laptop(world: World, request: pytest.FixtureRequest) -> Laptop:
    fault: str = request.param
    return Laptop(world, fault)


def other_mount(world: World) -> Mount:
    """A device that was never away, or comes when the server is back."""
    mount = world.mount("desk")
    mount.log.expect(APART)
    return mount


def tree(mount: Mount) -> dict[str, str]:
    return {
        str(path.relative_to(mount.path)): path.read_text() for path in sorted(mount.path.rglob("*")) if path.is_file()
    }


@every_fault
def test_it_says_so_within_the_lease_and_some_seconds(laptop: Laptop) -> None:
    assert laptop.mount.status()["state"] == "online"
    assert laptop.lose_server() < NOTICED_S + BUSY_S
    assert "offline" in laptop.mount.device.run("status", str(laptop.path)).stdout
    assert laptop.mount.process is not None
    laptop.mount.process.wait_for_line("WARNING .*can't be reached", NOTICED_S + BUSY_S)
    laptop.get_server_back()
    assert laptop.mount.status()["state"] == "online"


@every_fault
def test_what_is_cached_is_read_and_what_is_not_fails_in_time(laptop: Laptop) -> None:
    for folder in ("known", "unknown"):
        (laptop.path / folder).mkdir()
        (laptop.path / folder / "file").write_bytes(folder.encode() * 50_000)
    (laptop.path / "known" / "unread").write_bytes(os.urandom(300_000))
    laptop.mount.remount_empty()
    assert (laptop.path / "known" / "file").read_bytes() == b"known" * 50_000
    assert sorted(os.listdir(laptop.path / "known")) == ["file", "unread"]
    os.stat(laptop.path / "unknown")
    laptop.lose_server()
    assert (laptop.path / "known" / "file").read_bytes() == b"known" * 50_000
    assert sorted(os.listdir(laptop.path / "known")) == ["file", "unread"]
    assert (laptop.path / "known" / "unread").stat().st_size == 300_000
    assert not (laptop.path / "known" / "absent").exists()
    for read in (
        lambda: os.listdir(laptop.path / "unknown"),
        lambda: os.stat(laptop.path / "unknown" / "file"),
        (laptop.path / "known" / "unread").read_bytes,
    ):
        began_s = time.monotonic()
        with pytest.raises(OSError) as refused:
            read()
        assert refused.value.errno == errno.EIO
        assert time.monotonic() - began_s < DEADLINE_S + BUSY_S


def change_everything(folder: Path) -> None:
    """Every kind of change, of files and folders that ``prepare`` made."""
    (folder / "new").write_text("new")
    (folder / "made").mkdir()
    (folder / "made" / "inside").write_text("inside")
    (folder / "edited").write_text("edited twice")
    with (folder / "appended").open("a") as file:
        file.write(" and more")
    (folder / "old name").rename(folder / "made" / "new name")
    (folder / "draft").write_text("draft")
    (folder / "draft").rename(folder / "replaced")
    (folder / "unlinked").unlink()
    (folder / "gone").rmdir()


def prepare(folder: Path) -> None:
    for name in ("edited", "appended", "old name", "replaced", "unlinked"):
        (folder / name).write_text(f"first {name}")
    (folder / "gone").mkdir()


CHANGED = {
    "appended": "first appended and more",
    "edited": "edited twice",
    "made/inside": "inside",
    "made/new name": "first old name",
    "new": "new",
    "replaced": "draft",
}


@every_fault
def test_what_is_done_survives_a_kill_and_arrives(world: World, laptop: Laptop) -> None:
    prepare(laptop.path)
    assert len(os.listdir(laptop.path)) == 6
    laptop.lose_server()
    change_everything(laptop.path)
    assert tree(laptop.mount) == CHANGED
    laptop.die_and_start()
    assert laptop.mount.status()["state"] == "offline"
    assert tree(laptop.mount) == CHANGED
    (laptop.path / "later").write_text("later")
    laptop.die_and_start()
    assert tree(laptop.mount) == {**CHANGED, "later": "later"}
    laptop.get_server_back()
    desk = other_mount(world)
    for mount in (laptop.mount, desk):
        assert tree(mount) == {**CHANGED, "later": "later"}
        assert not (mount.path / "gone").exists()
    assert laptop.mount.status()["queued_changes"] == 0


def test_another_mount_that_is_there_sees_what_was_done(world: World, laptop: Laptop) -> None:
    desk = other_mount(world)
    prepare(laptop.path)
    assert len(tree(desk)) == 5
    laptop.lose_server()
    change_everything(laptop.path)
    laptop.get_server_back()
    desk.until(lambda status: status["state"] == "online", 30, "online")
    assert tree(desk) == CHANGED


def test_an_unmount_offline_keeps_what_was_done(world: World, laptop: Laptop) -> None:
    prepare(laptop.path)
    laptop.lose_server()
    change_everything(laptop.path)
    laptop.mount.unmount()
    laptop.mount.start()
    assert tree(laptop.mount) == CHANGED
    laptop.get_server_back()
    assert tree(other_mount(world)) == CHANGED


def test_each_file_says_where_it_is(laptop: Laptop) -> None:
    (laptop.path / "sent").write_text("x")
    assert os.getxattr(laptop.path / "sent", "user.samedrive.state") == b"synced"
    laptop.lose_server()
    (laptop.path / "kept").write_text("x")
    assert os.getxattr(laptop.path / "kept", "user.samedrive.state") == b"local"
    assert os.getxattr(laptop.path / "sent", "user.samedrive.state") == b"synced"
    assert laptop.mount.status()["queued_changes"] > 0
    laptop.get_server_back()
    assert os.getxattr(laptop.path / "kept", "user.samedrive.state") == b"synced"


def test_a_mount_starts_without_its_server_and_says_so(world: World, laptop: Laptop) -> None:
    (laptop.path / "file").write_text("x")
    assert tree(laptop.mount) == {"file": "x"}
    laptop.mount.unmount()
    laptop.take_server_away()
    in_background = [argument for argument in laptop.mount.command if argument != "--foreground"]
    done = subprocess.run(
        in_background, env=laptop.mount.device.env, capture_output=True, text=True, timeout=60, check=False
    )
    try:
        assert done.returncode == 0
        assert "can't be reached" in done.stderr
        assert laptop.mount.status()["state"] == "offline"
        assert tree(laptop.mount) == {"file": "x"}
        (laptop.path / "new").write_text("new")
        laptop.get_server_back()
        assert tree(other_mount(world)) == {"file": "x", "new": "new"}
    finally:
        laptop.mount.device.run("umount", str(laptop.path))


def answers(file: Path) -> bool:
    """Whether it can be looked at."""
    try:
        file.stat()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("fault", FAULTS)
def test_a_strict_mount_refuses(world: World, fault: str) -> None:
    laptop = Laptop(world, fault, "--strict")
    laptop.mount.log.expect("could not be sent|no progress")
    (laptop.path / "file").write_text("x")
    assert tree(laptop.mount) == {"file": "x"}
    laptop.lose_server()
    until_s = time.monotonic() + NOTICED_S
    while answers(laptop.path / "file"):
        assert time.monotonic() < until_s, "it answers without a lease"
    for call in (
        lambda: os.stat(laptop.path / "file"),
        lambda: os.listdir(laptop.path),
        (laptop.path / "file").read_text,
        (laptop.path / "folder").mkdir,
        lambda: (laptop.path / "new").write_text("x"),
    ):
        began_s = time.monotonic()
        with pytest.raises(OSError) as refused:
            call()
        assert refused.value.errno == errno.EIO
        assert time.monotonic() - began_s < 3 * DEADLINE_S + BUSY_S
    if laptop.fault == "server killed":
        world.server.start()
    else:
        laptop.wire.heal()
    laptop.mount.until(lambda status: status["state"] == "online", 30, "online")
    assert (laptop.path / "file").read_text() == "x"


def test_an_edit_against_one_that_was_made_offline_shows_on_both(world: World) -> None:
    laptop, desk = Laptop(world, "packets swallowed"), other_mount(world)
    (laptop.path / "notes.txt").write_text("base")
    assert (desk.path / "notes.txt").read_text() == "base"
    laptop.lose_server()
    (laptop.path / "notes.txt").write_text("by laptop")
    (desk.path / "notes.txt").write_text("by desk")
    laptop.get_server_back()
    for mount in (laptop.mount, desk):
        [found] = json.loads(mount.device.run("conflicts", "--json", str(mount.path)).stdout)
        assert found["device"] == "laptop"
        assert found["conflicts_with"] == str(mount.path / "notes.txt")
        assert Path(found["path"]).read_text() == "by laptop"
        assert (mount.path / "notes.txt").read_text() == "by desk"


def save_like_vim(file: Path, text: str) -> None:
    """The program itself, with the settings that it comes with."""
    script = ("-u", "NONE", "-N", "-es", "-c", f"%s/.*/{text}/", "-c", "wq")
    subprocess.run(("vim", *script, file.name), cwd=file.parent, check=True, stdin=subprocess.DEVNULL, timeout=60)


def save_like_vim_with_backup(file: Path, text: str) -> None:
    """A swap file; the file renamed to its backup, and written anew; then the backup removed."""
    script = (
        "-u",
        "NONE",
        "-N",
        "-es",
        "-c",
        "set swapfile backupcopy=no writebackup",
        "-c",
        f"%s/.*/{text}/",
        "-c",
        "wq",
    )
    subprocess.run(("vim", *script, file.name), cwd=file.parent, check=True, stdin=subprocess.DEVNULL, timeout=60)


def save_like_gedit(file: Path, text: str) -> None:
    """A temporary file with the mode of the old one, synced, renamed over it (GLib, g_file_replace)."""
    draft = file.with_name(f".goutputstream-{os.urandom(3).hex()}")
    with draft.open("x") as output:
        output.write(text + "\n")
        output.flush()
        os.fsync(output.fileno())
    shutil.copymode(file, draft)
    draft.rename(file)


def save_like_libreoffice(file: Path, text: str) -> None:
    """A lock file beside it while it is open; the old content to a backup, the new one written in place."""
    lock = file.with_name(f".~lock.{file.name}#")
    with lock.open("x") as output:
        output.write(",someone,here,now;")
    backup = file.with_name(f"{file.stem}.bak")
    shutil.copyfile(file, backup)
    with file.open("r+") as output:
        output.truncate()
        output.write(text + "\n")
    backup.unlink()
    lock.unlink()


SAVES = (save_like_vim, save_like_vim_with_backup, save_like_gedit, save_like_libreoffice)


@pytest.mark.parametrize("save", SAVES)
def test_an_editors_saves_make_no_conflict_copies(world: World, save: Callable[[Path, str], None]) -> None:
    """Online, then offline, then online again; another device has read each version that it could."""
    laptop, desk = Laptop(world, "packets swallowed"), other_mount(world)
    (laptop.path / "text.txt").write_text("first\n")
    for number in range(3):
        save(laptop.path / "text.txt", f"online {number}")
        assert (desk.path / "text.txt").read_text() == f"online {number}\n"
    laptop.lose_server()
    for number in range(3):
        save(laptop.path / "text.txt", f"offline {number}")
    assert (laptop.path / "text.txt").read_text() == "offline 2\n"
    laptop.get_server_back()
    assert tree(desk) == {"text.txt": "offline 2\n"}
    for number in range(3):
        save(laptop.path / "text.txt", f"again {number}")
    for mount in (laptop.mount, desk):
        assert tree(mount) == {"text.txt": "again 2\n"}
        assert mount.device.run("conflicts", str(mount.path)).stdout == "No conflicts.\n"


def test_an_editor_that_is_open_across_a_spell_saves_without_a_conflict(world: World) -> None:
    """What it opened online it saves offline, and what it opened offline online."""
    laptop, desk = Laptop(world, "packets swallowed"), other_mount(world)
    for name in ("opened before", "opened meanwhile"):
        (laptop.path / name).write_text("first")
    with (laptop.path / "opened before").open("r+") as before:
        laptop.lose_server()
        before.write("later")
    with (laptop.path / "opened meanwhile").open("r+") as meanwhile:
        laptop.get_server_back()
        meanwhile.write("later")
    for mount in (laptop.mount, desk):
        assert tree(mount) == {"opened before": "later", "opened meanwhile": "later"}
