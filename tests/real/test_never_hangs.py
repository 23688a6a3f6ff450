"""Without its server a mount answers in time, whatever it answers; who waits can be killed; an unmount ends.

What is asserted is the time and that the outcome is a sane one: a result, or an error that says that it can't be had.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.real.harness import Mount, Server
from tests.real.proxy import Wire
from tests.real.world import World

LEASE_S = 1.0
DEADLINE_S = 3.0
BUSY_S = 5.0
"""What a busy machine may add."""

IN_TIME_S = 4 * DEADLINE_S + BUSY_S
"""A program's call is several requests, and the kernel lets those of one folder wait for each other."""

SANE = {"ok", "EIO", "ENETDOWN", "ETIMEDOUT", "ENOENT"}

Fault = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def world(new_own_world: Callable[..., World]) -> World:
    """One whose server gives short leases, and may be stopped."""
    return new_own_world("--lease-s", f"{LEASE_S:g}")


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    assert server.process is not None
    server.process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.signal(signal.SIGCONT)


@contextmanager
def swallowed(wire: Wire) -> Iterator[None]:
    wire.swallow()
    try:
        yield
    finally:
        wire.heal()


@contextmanager
def cut(wire: Wire) -> Iterator[None]:
    wire.cut()
    try:
        yield
    finally:
        wire.heal()


@contextmanager
def gone(wire: Wire) -> Iterator[None]:
    wire.lose_server()
    try:
        yield
    finally:
        wire.heal()


@pytest.fixture(params=["server stopped"])
def mount(request: pytest.FixtureRequest, world: World) -> tuple[Mount, Fault]:
    """A mount with files that it has seen and files that it has not, and what takes its server away."""
    mount, wire = world.wired("laptop", "--deadline", f"{DEADLINE_S:g}")
    for folder in ("known", "unknown"):
        (mount.path / folder).mkdir()
        (mount.path / folder / "file").write_bytes(os.urandom(200_000))
    mount.remount_empty()
    assert (mount.path / "known" / "file").stat().st_size == 200_000
    assert os.listdir(mount.path / "known") == ["file"]
    faults: dict[str, Fault] = {
        "server stopped": lambda: stopped(world.server),
        "packets swallowed": lambda: swallowed(wire),
        "connections closed": lambda: cut(wire),
        "bad gateway": lambda: gone(wire),
    }
    return mount, faults[request.param]


every_fault = pytest.mark.parametrize(
    "mount", ["server stopped", "packets swallowed", "connections closed", "bad gateway"], indirect=True
)


CALL = textwrap.dedent("""
    import errno, os, sys
    call, path = sys.argv[1:]
    try:
        if call == "read":
            open(path, "rb").read()
        elif call == "write":
            open(path, "wb").write(b"content")
        else:
            getattr(os, call)(path)
        print("ok")
    except OSError as error:
        print(errno.errorcode[error.errno])
""")
"""One system call, or open, read or write, and close; says how it ended."""


def called(call: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen((sys.executable, "-c", CALL, call, str(path)), stdout=subprocess.PIPE, text=True)


def outcome(process: subprocess.Popen[str], deadline: float) -> str:
    said, _ = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
    return said.strip()


CALLS = (
    ("stat", "known/file"),
    ("stat", "unknown/file"),
    ("stat", "."),
    ("listdir", "known"),
    ("listdir", "unknown"),
    ("statvfs", "."),
    ("read", "unknown/file"),
    ("write", "known/new"),
    ("mkdir", "known/folder"),
)


@every_fault
def test_every_call_returns_in_time(mount: tuple[Mount, Fault]) -> None:
    """All at once, beside programs of every day."""
    mounted, fault = mount
    programs = (("ls", "-l", mounted.path), ("df", mounted.path), ("stat", mounted.path / "unknown"))
    with fault():
        deadline = time.monotonic() + IN_TIME_S
        running = [(call, path, called(call, mounted.path / path)) for call, path in CALLS]
        others = [subprocess.Popen(each, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for each in programs]
        outcomes = {f"{call} {path}": outcome(process, deadline) for call, path, process in running}
        assert {what: how for what, how in outcomes.items() if how not in SANE} == {}
        for process in others:
            assert process.wait(max(0.0, deadline - time.monotonic())) in {0, 1, 2}


def test_a_process_that_waits_can_be_killed(mount: tuple[Mount, Fault]) -> None:
    mounted, fault = mount
    with fault():
        process = called("stat", mounted.path / "unknown" / "file")
        process.kill()
        process.communicate(timeout=IN_TIME_S)


def test_an_unmount_ends(mount: tuple[Mount, Fault]) -> None:
    mounted, fault = mount
    with fault():
        began_s = time.monotonic()
        mounted.unmount()
        assert time.monotonic() - began_s < 2 * IN_TIME_S


def test_the_status_of_all_mounts_does_not_wait_for_one_that_is_stopped(world: World) -> None:
    stopped = world.mount("stopped")
    going = world.mount("going", device=stopped.device)
    assert stopped.process is not None
    stopped.process.signal(signal.SIGSTOP)
    try:
        said = stopped.device.run("status", check=False, timeout_s=IN_TIME_S)
    finally:
        stopped.process.signal(signal.SIGCONT)
    assert said.returncode == 1
    assert f"{going.path}: " in said.stdout
    assert f"the mount at {stopped.path} doesn't answer" in said.stderr


def test_conflicts_of_other_mounts_are_listed_beside_one_that_is_stopped(world: World) -> None:
    stopped = world.mount("stopped")
    going = world.mount("going", device=stopped.device)
    assert stopped.process is not None
    stopped.process.signal(signal.SIGSTOP)
    try:
        said = stopped.device.run("conflicts", check=False, timeout_s=IN_TIME_S)
        alone = stopped.device.run("conflicts", str(going.path), timeout_s=IN_TIME_S)
    finally:
        stopped.process.signal(signal.SIGCONT)
    assert said.returncode == 1
    assert f"{stopped.path}: its conflicts aren't known" in said.stderr
    assert "No conflicts" in alone.stdout


@pytest.mark.parametrize("mount", ["packets swallowed"], indirect=True)
def test_the_mount_is_as_before_when_the_server_is_back(mount: tuple[Mount, Fault]) -> None:
    mounted, fault = mount
    with fault():
        assert outcome(called("stat", mounted.path / "unknown" / "file"), time.monotonic() + IN_TIME_S) in SANE
    mounted.until(lambda status: status["state"] == "online", 30)
    assert len((mounted.path / "unknown" / "file").read_bytes()) == 200_000
    (mounted.path / "known" / "later").write_bytes(b"content")
    assert sorted(os.listdir(mounted.path / "known"))[-1] == "later"
