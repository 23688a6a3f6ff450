"""End-to-end workspaces on real mounts: they work like any other, and the server has nothing that could be read."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.harness import Device, Failed, Log, Mount, Server
from tests.real.test_keys import keys_in
from tests.real.world import World

PASSPHRASE = "correct horse battery staple"
APART = r"can't be reached|is not renewed"
SECRET = b"what nobody but us may read, "


@pytest.fixture
def passphrase_file(tmp_path: Path) -> Path:
    file = tmp_path / "passphrase"
    file.write_text(f"{PASSPHRASE}\n")
    return file


def make_workspace(admin: Device, name: str, passphrase_file: Path) -> str:
    """Returns what the command said."""
    return admin.run("workspace", "create", name, "--end-to-end", "--passphrase-file", str(passphrase_file)).stdout


@pytest.fixture
def world(
    module_server: Server,
    module_admin: Device,
    new_world: Callable[[Server, Device, Log, str], World],
    tmp_path_factory: pytest.TempPathFactory,
    passphrase_file: Path,
) -> World:
    """A new end-to-end workspace on the module's server."""
    name = tmp_path_factory.mktemp("workspace").name
    make_workspace(module_admin, name, passphrase_file)
    return new_world(module_server, module_admin, module_server.log.from_here(), name)


@pytest.fixture
def pair(world: World, passphrase_file: Path) -> tuple[Mount, Mount]:
    given = ("--passphrase-file", str(passphrase_file))
    return world.mount("desk", *given), world.mount("laptop", *given)


def test_what_one_mount_writes_the_other_sees_at_once(pair: tuple[Mount, Mount]) -> None:
    desk, laptop = pair
    folder = desk.path / "a folder"
    folder.mkdir()
    (folder / "r\u00e9sum\u00e9.odt").write_bytes(SECRET * 10_000)
    (folder / "link").symlink_to("r\u00e9sum\u00e9.odt")
    os.setxattr(folder, "user.comment", b"ours")
    os.link(folder / "r\u00e9sum\u00e9.odt", folder / os.fsdecode(b"\xff\xfe"))
    seen = laptop.path / "a folder"
    assert sorted(os.listdir(os.fsencode(seen))) == sorted([b"link", "r\u00e9sum\u00e9.odt".encode(), b"\xff\xfe"])
    assert (seen / "link").read_bytes() == SECRET * 10_000
    assert (seen / "link").lstat().st_size == len("r\u00e9sum\u00e9.odt".encode())
    assert os.listxattr(seen) == ["user.comment"]
    assert os.getxattr(seen, "user.comment") == b"ours"
    (seen / "r\u00e9sum\u00e9.odt").rename(laptop.path / "moved")
    assert (desk.path / "moved").read_bytes() == SECRET * 10_000
    assert not (folder / "link").exists()


def test_names_are_as_long_as_anywhere(pair: tuple[Mount, Mount]) -> None:
    desk, laptop = pair
    (desk.path / ("n" * 255)).write_text("x")
    assert os.listdir(laptop.path) == ["n" * 255]
    with pytest.raises(OSError) as caught:
        (desk.path / ("n" * 256)).write_text("x")
    assert caught.value.errno == errno.ENAMETOOLONG
    assert os.statvfs(desk.path).f_namemax == 255
    target = "t" * 4095
    (desk.path / "link").symlink_to(target)
    assert os.readlink(laptop.path / "link") == target


def test_a_folder_of_many_names_is_listed(pair: tuple[Mount, Mount]) -> None:
    """The server keeps them in another order, and in several pages."""
    desk, laptop = pair
    expected = [f"file {number}" for number in range(1_200)]
    for name in expected:
        (desk.path / name).mkdir()
    assert sorted(os.listdir(laptop.path)) == sorted(expected)


def test_a_conflict_copy_s_name_says_what_it_is(pair: tuple[Mount, Mount]) -> None:
    desk, laptop = pair
    (desk.path / "notes.txt").write_text("base")
    with (laptop.path / "notes.txt").open("r+") as file:
        file.write("mine")
        (desk.path / "notes.txt").write_text("theirs")
    [copy] = [name for name in os.listdir(desk.path) if name != "notes.txt"]
    assert copy.startswith("notes (conflict from laptop 20")
    assert copy.endswith(").txt")
    assert (desk.path / copy).read_text() == "mine"
    [found] = json.loads(desk.device.run("conflicts", "--json", str(desk.path)).stdout)
    assert (found["path"], found["conflicts_with"]) == (str(desk.path / copy), str(desk.path / "notes.txt"))
    laptop.device.run("conflicts", "keep", "mine", str(laptop.path / copy))
    assert {name: (desk.path / name).read_text() for name in os.listdir(desk.path)} == {"notes.txt": "mine"}


def test_the_server_has_neither_names_nor_contents(new_own_world: Callable[..., World], passphrase_file: Path) -> None:
    world = new_own_world()
    make_workspace(world.admin, "secret", passphrase_file)
    mount = world.mount("desk", "--passphrase-file", str(passphrase_file), workspace="secret")
    (mount.path / "a telling folder").mkdir()
    random = os.urandom(200_000)
    (mount.path / "a telling folder" / "a telling name").write_bytes(SECRET * 100)
    (mount.path / "a telling folder" / "large").write_bytes(random)
    (mount.path / "a telling link").symlink_to("a telling target")
    os.setxattr(mount.path / "a telling folder", "user.telling", b"a telling value")
    (mount.path / "a telling folder" / "a telling name").rename(mount.path / "renamed, tellingly")
    (mount.path / "renamed, tellingly").unlink()
    mount.wait()
    remembered = [json.loads(file.read_bytes()) for file in mount.device.folder.glob("config/**/workspaces/*.json")]
    [key] = [each["key"] for each in remembered]
    world.close()
    world.server.stop()
    files = [file for file in world.server.folder.rglob("*") if file.is_file()]
    assert len(files) > 3
    for file in files:
        content = file.read_bytes()
        for secret in (b"telling", SECRET, random[1000:1032], PASSPHRASE.encode(), key.encode(), b64decode(key)):
            assert secret not in content, file


def test_a_mount_that_knows_the_key_begins_without_passphrase_and_server(
    new_own_world: Callable[..., World], passphrase_file: Path
) -> None:
    world = new_own_world("--lease-s", "1")
    make_workspace(world.admin, "secret", passphrase_file)
    mount = world.mount("laptop", "--passphrase-file", str(passphrase_file), workspace="secret")
    (mount.path / "known").write_text("before")
    mount.unmount()
    mount.flags = ()
    mount.start()
    assert (mount.path / "known").read_text() == "before"
    mount.log.expect(APART)
    mount.unmount()
    world.server.kill()
    mount.start()
    assert (mount.path / "known").read_text() == "before"
    (mount.path / "made offline").write_text("away")
    world.server.start()
    mount.wait()
    other = world.mount("desk", "--passphrase-file", str(passphrase_file), workspace="secret")
    assert (other.path / "made offline").read_text() == "away"


@pytest.fixture
def unmounted(world: World) -> Callable[..., str]:
    """Mounts that don't come up; returns what they say."""

    def fails(*flags: str) -> str:
        mount = world.unmounted("desk", *flags)
        with pytest.raises(Failed) as caught:
            mount.start()
        return str(caught.value)

    return fails


def test_another_passphrase_opens_what_is_there_and_the_old_one_nothing(
    world: World, module_admin: Device, passphrase_file: Path, tmp_path: Path
) -> None:
    desk = world.mount("desk", "--passphrase-file", str(passphrase_file))
    (desk.path / "file").write_bytes(SECRET)
    new = tmp_path / "new"
    new.write_text("another horse, another battery\n")
    files = ("--passphrase-file", str(passphrase_file), "--new-passphrase-file", str(new))
    module_admin.run("workspace", "passphrase", world.workspace, *files)
    (desk.path / "file").write_bytes(SECRET * 2)  # It goes on.
    with pytest.raises(Failed, match="not the passphrase"):
        world.mount("phone", "--passphrase-file", str(passphrase_file))
    laptop = world.mount("laptop", "--passphrase-file", str(new))
    assert (laptop.path / "file").read_bytes() == SECRET * 2


def test_a_wrong_passphrase_is_told_in_words(world: World, unmounted: Callable[..., str], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("another passphrase\n")
    assert f"that is not the passphrase of admin/{world.workspace}" in unmounted("--passphrase-file", str(wrong))


def test_a_missing_passphrase_is_asked_for_in_words(world: World, unmounted: Callable[..., str]) -> None:
    said = unmounted()
    assert f"admin/{world.workspace} is end-to-end encrypted" in said
    assert "--passphrase-file" in said


def test_a_person_at_a_terminal_is_asked_once(world: World, module_server: Server) -> None:
    device = world.device("desk")
    folder = device.folder / "drive"
    folder.mkdir()
    mount = ("mount", module_server.url, str(folder), "--workspace", world.workspace)
    try:
        assert "Passphrase" in at_a_terminal(device, *mount, typed=f"{PASSPHRASE}\n")
        (folder / "file").write_text("x")
        device.run("umount", str(folder))
        assert at_a_terminal(device, *mount) == ""
        assert (folder / "file").read_text() == "x"
    finally:
        device.run("umount", str(folder), check=False)


def at_a_terminal(device: Device, *arguments: str, typed: str = "") -> str:
    """One command on a terminal of its own, where ``typed`` answers its question; what was shown."""
    ours, theirs = os.openpty()
    opening = 'exec "$@" <"$0" >"$0" 2>&1'  # Who leads a session and opens a terminal has it for its own.
    done = subprocess.Popen(
        ("sh", "-c", opening, os.ttyname(theirs), *device.program, *arguments),
        env=device.env,
        start_new_session=True,
        stdin=theirs,  # So that the other side is somebody's from the start.
    )
    os.close(theirs)
    shown = b""
    with open(ours, "r+b", buffering=0) as terminal:
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Nobody has the other side any more.
                break
            shown += part
            if typed and shown.rstrip().endswith(b":"):
                terminal.write(typed.encode())
                typed = ""
    assert done.wait(60) == 0, shown
    return shown.decode().strip()


def test_links_are_refused_in_words(world: World, pair: tuple[Mount, Mount]) -> None:
    (pair[0].path / "file").write_text("x")
    done = world.admin.run("link", "create", "file", "--workspace", world.workspace, check=False)
    assert done.returncode != 0
    assert "end-to-end encrypted" in done.stderr


def test_a_key_is_rotated_while_mounts_go_on(new_own_world: Callable[..., World], passphrase_file: Path) -> None:
    world = new_own_world("--lease-s", "1")
    make_workspace(world.admin, "secret", passphrase_file)
    flags = ("--passphrase-file", str(passphrase_file))
    desk = world.mount("desk", *flags, workspace="secret")
    laptop = world.mount("laptop", *flags, workspace="secret")
    large = os.urandom(3 << 20)
    (desk.path / "before").write_bytes(large)
    (desk.path / "small before").write_bytes(SECRET)
    new = passphrase_file.with_name("new")
    new.write_text("another horse, another battery\n")

    said = desk.device.run("workspace", "rotate-key", "secret", *flags, "--new-passphrase-file", str(new)).stdout
    assert re.search(r"\n\d+ blocks sealed anew under key 2\.\n", said)
    store = world.server.data / "blocks"
    assert keys_in(store) == {2}
    polls = desk.status()["polls"]
    desk.until(lambda status: status["polls"] > polls + 1)  # It has heard of it.
    (desk.path / "after").write_bytes(large[::-1])
    assert keys_in(store) == {2}

    # A mount that is not unlocked says so, and goes on with what it can.
    laptop.log.expect(r"has got another key: samedrive workspace unlock admin/secret")
    with pytest.raises(OSError) as caught:
        (laptop.path / "after").read_bytes()
    assert caught.value.errno == errno.ENOKEY
    assert "samedrive workspace unlock" in laptop.status()["key_trouble"]
    assert "samedrive workspace unlock admin/secret" in laptop.device.run("status", str(laptop.path)).stdout
    assert "samedrive workspace unlock admin/secret" in laptop.log.text()
    (laptop.path / "mine").write_bytes(SECRET * 2)
    assert (desk.path / "mine").read_bytes() == SECRET * 2

    laptop.device.run("workspace", "unlock", "secret", "--passphrase-file", str(new))
    assert laptop.status()["key_trouble"] == ""
    assert (laptop.path / "after").read_bytes() == large[::-1]
    assert (laptop.path / "before").read_bytes() == large
    assert (laptop.path / "small before").read_bytes() == SECRET

    # What it wrote meanwhile is sealed anew when its owner goes on.
    reseal = ("workspace", "reseal", "secret", "--passphrase-file", str(new))
    assert re.match(r"[1-9]\d* blocks? sealed anew under key 2\.", desk.device.run(*reseal).stdout)
    assert desk.device.run(*reseal).stdout == "0 blocks sealed anew under key 2.\n"

    for mount in (desk, laptop):
        mount.unmount()
        mount.flags = ()
        mount.start()
        assert (mount.path / "after").read_bytes() == large[::-1]
        assert (mount.path / "mine").read_bytes() == SECRET * 2
    with pytest.raises(Failed, match="not the passphrase"):
        world.mount("phone", *flags, workspace="secret")
