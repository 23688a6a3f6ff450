"""Whatever a person gets wrong, or a machine lacks: one clear line, a status that isn't 0, and nothing lost."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.real.harness import (
    PROGRAM,
    START_S,
    Device,
    Mount,
    Process,
    as_user,
    free_port,
    interpreter_for,
    mounted,
    wait_mounts,
)
from tests.real.world import World

MIB = 1 << 20


def one_line(done: subprocess.CompletedProcess[str], *says: str) -> None:
    """A command failed as it should: not by a fault, and its one line holds each of the texts."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode not in {0, -9, -11}, done
    assert len(lines) == 1, done.stderr
    assert "fault of the program" not in lines[0], lines[0]
    for text in says:
        assert text.lower() in lines[0].lower(), lines[0]


def refusal(mount: Mount) -> subprocess.CompletedProcess[str]:
    """Try to mount; it must end by itself."""
    return subprocess.run(
        mount.command,
        env=mount.device.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def write_and_sync(path: Path, mebibytes: int) -> None:
    """Bytes that can't be compressed."""
    with open(path, "wb", buffering=0) as file:
        for _ in range(mebibytes):
            file.write(os.urandom(MIB))
        os.fsync(file.fileno())


# ── logging in ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1:1", "http://user:secret@127.0.0.1:1", "http://"])
def test_what_is_no_address_is_named(world: World, url: str) -> None:
    device = world.device("desk", login=None)
    password = str(world.server.admin_password_file)
    done = device.run("login", url, "--user", "admin", "--password-file", password, check=False)
    one_line(done, "address")


def test_nobody_listens_at_the_address(world: World) -> None:
    device = world.device("desk", login=None)
    url = f"http://127.0.0.1:{free_port()}"
    password = str(world.server.admin_password_file)
    one_line(device.run("login", url, "--user", "admin", "--password-file", password, check=False), url)


def test_something_else_listens_at_the_address(world: World) -> None:
    device = world.device("desk", login=None)
    password = str(world.server.admin_password_file)
    with socket.create_server(("127.0.0.1", 0)) as other:
        url = f"http://127.0.0.1:{other.getsockname()[1]}"
        command = Process(
            (*PROGRAM, "login", url, "--user", "admin", "--password-file", password),
            world.folder / "login.log",
            device.env,
        )
        connection, _ = other.accept()
        connection.recv(4096)
        connection.sendall(b"SSH-2.0-something\r\n")
        connection.close()
        try:
            assert command.wait(60) != 0
            assert "fault of the program" not in command.output
            assert len(command.output.splitlines()) == 1
        finally:
            command.close()


@pytest.mark.parametrize(("user", "password"), [("admin", "wrong"), ("nobody-there", "wrong"), ("admin", "")])
def test_a_wrong_password_or_user_is_told_alike(world: World, user: str, password: str) -> None:
    device = world.device("desk", login=None)
    file = world.folder / "wrong"
    file.write_text(password)
    done = device.run("login", world.server.url, "--user", user, "--password-file", str(file), check=False)
    one_line(done, "password")


def test_a_password_file_that_is_not_there_is_named(world: World) -> None:
    device = world.device("desk", login=None)
    absent = str(world.folder / "absent")
    done = device.run("login", world.server.url, "--user", "admin", "--password-file", absent, check=False)
    assert done.returncode != 0
    assert "absent" in done.stderr


def test_a_device_that_is_not_logged_in_can_not_mount(world: World) -> None:
    mount = world.unmounted("desk", device=world.device("desk", login=None))
    one_line(refusal(mount), "login")
    assert not mounted(mount.path)


# ── a token that is refused ──────────────────────────────────────────────────────────────────────────


def test_a_revoked_device_gets_eacces_and_status_says_why(world: World) -> None:
    mount = world.mount("lost")
    mount.log.expect("(?i)token|revoked|refused|unauthori[sz]ed|401")
    (mount.path / "file").write_text("x")
    mount.device.run("device", "revoke", "lost", "--server", world.server.url)
    mount.until(lambda status: status["state"] == "refused", wanted="refused")
    with pytest.raises(OSError) as told:
        (mount.path / "new").write_text("y")
    assert told.value.errno == errno.EACCES
    with pytest.raises(OSError) as told:
        os.listdir(mount.path)
    assert told.value.errno == errno.EACCES
    mount.unmount()
    one_line(refusal(mount), "log")
    mount.device.login(world.server.admin_password_file)
    mount.start()
    assert (mount.path / "file").read_text() == "x"


def test_an_unknown_workspace_is_named(world: World) -> None:
    one_line(refusal(world.unmounted(workspace="nowhere")), "nowhere")


# ── the place to mount at ────────────────────────────────────────────────────────────────────────────


def test_a_folder_that_is_not_there(world: World) -> None:
    mount = world.unmounted()
    mount.path.rmdir()
    one_line(refusal(mount), str(mount.path))


def test_a_file_in_place_of_a_folder(world: World) -> None:
    mount = world.unmounted()
    mount.path.rmdir()
    mount.path.touch()
    one_line(refusal(mount), str(mount.path))


def test_a_folder_that_is_not_empty(world: World) -> None:
    mount = world.unmounted()
    (mount.path / "mine").write_text("keep")
    one_line(refusal(mount), str(mount.path), "empty")
    assert (mount.path / "mine").read_text() == "keep"


def test_a_folder_that_is_mounted_already(world: World) -> None:
    first = world.mount()
    second = world.unmounted("second")
    second.path = first.path
    one_line(refusal(second), str(first.path), "mounted")
    (first.path / "still").write_text("works")


def test_umount_status_and_wait_of_what_is_no_mount(world: World) -> None:
    device = world.device("desk", login=None)
    folder = world.folder / "plain"
    folder.mkdir()
    for command in ("umount", "status", "wait"):
        one_line(device.run(command, str(folder), check=False), str(folder))


def test_umount_of_a_busy_drive_says_so(world: World) -> None:
    mount = world.mount()
    with open(mount.path / "file", "w") as file:
        done = mount.device.run("umount", str(mount.path), check=False)
        if done.returncode != 0:
            one_line(done, "busy")
        file.write("not lost")
    if mounted(mount.path):
        mount.unmount()
    elif mount.process is not None:
        mount.process.wait()
        mount.close()
    assert (world.mount("other").path / "file").read_text() == "not lost"


# ── the cache folder ─────────────────────────────────────────────────────────────────────────────────


def test_two_mounts_on_one_cache_folder(world: World) -> None:
    first = world.mount()
    second = world.unmounted("second")
    second.cache = first.cache
    one_line(refusal(second), str(first.cache))
    (first.path / "still").write_text("works")


def test_a_cache_that_is_a_file(world: World) -> None:
    mount = world.unmounted()
    mount.cache.touch()
    one_line(refusal(mount), str(mount.cache))


def test_a_cache_that_can_not_be_written(world: World) -> None:
    """A file system that is mounted read-only: permissions would not stop root."""
    mount = world.unmounted()
    mount.cache.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "ro", "none", str(mount.cache)), check=True)
    try:
        one_line(refusal(mount), str(mount.cache))
    finally:
        subprocess.run(("umount", str(mount.cache)), check=True)


def test_a_full_cache_is_enospc_and_what_was_there_stays(world: World) -> None:
    mount = world.unmounted()
    mount.log.expect("(?i)space|full|ENOSPC")
    mount.cache.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=16m", "none", str(mount.cache)), check=True)
    try:
        mount.start()
        (mount.path / "small").write_bytes(b"kept")
        with pytest.raises(OSError) as told:
            write_and_sync(mount.path / "large", 64)
        assert told.value.errno == errno.ENOSPC
        assert (mount.path / "small").read_bytes() == b"kept"
        (mount.path / "large").unlink()
        (mount.path / "next").write_bytes(b"works again")
        mount.unmount()
    finally:
        mount.close()
        subprocess.run(("umount", str(mount.cache)), check=True)


def test_cached_bytes_that_were_changed_are_never_served(world: World) -> None:
    mount = world.mount()
    mount.log.expect("(?i)cache|match|corrupt")
    content = os.urandom(6 * MIB)
    (mount.path / "file").write_bytes(content)
    mount.remount_empty()
    assert (mount.path / "file").read_bytes() == content
    mount.unmount()
    spoilt = 0
    for path in mount.cache.rglob("*"):
        if path.is_file() and path.stat().st_size > 100_000:
            with path.open("r+b") as file:
                file.seek(path.stat().st_size // 2)
                file.write(b"spoilt")
            spoilt += 1
    assert spoilt
    mount.start()
    assert (mount.path / "file").read_bytes() == content


# ── the server's limits ──────────────────────────────────────────────────────────────────────────────


def test_a_full_workspace_is_enospc_and_what_was_there_stays(world: World) -> None:
    world.admin.run("workspace", "create", f"{world.workspace}-small", "--quota", "8M")
    mount = world.mount(workspace=f"{world.workspace}-small")
    mount.log.expect("(?i)quota|space|full|ENOSPC")
    (mount.path / "kept").write_bytes(os.urandom(3 * MIB))
    with pytest.raises(OSError) as told:
        write_and_sync(mount.path / "large", 16)
    assert told.value.errno == errno.ENOSPC
    seen = os.statvfs(mount.path)
    assert seen.f_blocks * seen.f_frsize == 8 * MIB
    (mount.path / "large").unlink()
    (mount.path / "little").write_bytes(b"fits")
    mount.remount_empty()
    assert (mount.path / "little").read_bytes() == b"fits"
    assert len((mount.path / "kept").read_bytes()) == 3 * MIB


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"",
        bytes(1000),
        b"GET /\r\n\r\n",
        b"\x16\x03\x01" + bytes(range(256)),
        b"GET /v1/health HTTP/1.1\r\n" * 1000,
        b"POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n{",
    ],
    ids=["nothing", "zeros", "old", "tls", "endless head", "huge body"],
)
def test_the_server_survives_any_bytes(world: World, bytes_sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", world.server.port), timeout=10) as connection:
        connection.sendall(bytes_sent)
        connection.shutdown(socket.SHUT_WR)
    assert httpx.get(f"{world.server.url}/v1/health", timeout=30).status_code == 200


def test_nothing_answers_without_a_token(world: World) -> None:
    for path in ("workspaces", "users", "devices", f"workspaces/{'0' * 32}/changes", f"workspaces/{'0' * 32}/usage"):
        reply = httpx.get(f"{world.server.url}/v1/{path}", timeout=30)
        assert reply.status_code == 401, path
        assert reply.headers["content-type"].startswith("application/problem+json")


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b'{"user": 7}', 400), (b"[]", 400), (b"x" * (5 * MIB), 413)]
)
def test_bodies_that_are_wrong_are_refused(world: World, body: bytes, status: int) -> None:
    reply = httpx.post(
        f"{world.server.url}/v1/login", content=body, headers={"content-type": "application/json"}, timeout=30
    )
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"].startswith("application/problem+json")


# ── an ordinary user ─────────────────────────────────────────────────────────────────────────────────

ORDINARY_USER = 65_534


def become_possible() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    if interpreter_for(ORDINARY_USER) is None:
        pytest.skip("no Python here that another user may run")


@pytest.fixture
def ordinary(world: World) -> Callable[..., Mount]:
    become_possible()

    def ordinary(*flags: str) -> Mount:
        return world.mount(*("nobody", *flags), device=world.device("nobody", user=ORDINARY_USER))

    return ordinary


def as_ordinary(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(each) for each in command],
        user=ORDINARY_USER,
        group=ORDINARY_USER,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_ordinary_user_sees_workspace_files_as_their_own(world: World, ordinary: Callable[..., Mount]) -> None:
    root = world.mount("root")
    (root.path / "file").write_text("from root")
    (root.path / "file").chmod(0o640)
    mount = ordinary()
    mount.caught_up_with(root)
    done = as_ordinary("stat", "-c", "%u %g %a", mount.path / "file")
    assert done.stdout.split() == [str(ORDINARY_USER), str(ORDINARY_USER), "640"], done
    assert as_ordinary("sh", "-c", f"echo changed > '{mount.path}/file' && mkdir '{mount.path}/new'").returncode == 0
    root.caught_up_with(mount)
    assert (root.path / "file").read_text() == "changed\n"
    assert os.stat(root.path / "file").st_uid == 0


def test_an_ordinary_users_mount_is_theirs_alone(ordinary: Callable[..., Mount]) -> None:
    mount = ordinary()
    with pytest.raises(PermissionError):
        os.listdir(mount.path)
    assert as_ordinary("ls", mount.path).returncode == 0


def test_numeric_owner_shows_stored_numbers(world: World, ordinary: Callable[..., Mount]) -> None:
    root = world.mount("root")
    (root.path / "file").touch()
    os.chown(root.path / "file", 1234, 4321)
    mount = ordinary("--numeric-owner")
    mount.caught_up_with(root)
    assert as_ordinary("stat", "-c", "%u %g", mount.path / "file").stdout.split() == ["1234", "4321"]


def test_an_ordinary_user_unmounts(ordinary: Callable[..., Mount]) -> None:
    mount = ordinary()
    mount.unmount()
    assert wait_mounts(lambda: not mounted(mount.path), START_S)


def test_a_device_without_fuse_is_told(world: World) -> None:
    """An ordinary user on a machine whose /dev/fuse is root's alone."""
    become_possible()
    device: Device = world.device("nobody", user=ORDINARY_USER)
    mount = world.unmounted(device=device)
    os.chmod("/dev/fuse", 0o600)
    try:
        done = subprocess.run(
            as_user(ORDINARY_USER, mount.command),
            env=device.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.chmod("/dev/fuse", 0o666)
    one_line(done, "/dev/fuse")
