"""Fixtures of real mounts: a server a module, a workspace a test, and logs that must hold no trouble."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.real.harness import Device, Log, Mount, Server
from tests.real.world import World

_LOGS = pytest.StashKey[list[Log]]()
LOG_TAIL_LINES = 120


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.path.name != "test_proxy.py":
            item.add_marker(pytest.mark.real)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure is printed with the logs of every process that had to do with it."""
    report = yield
    if report.failed:
        for log in item.stash.get(_LOGS, []):
            lines = log.text().splitlines()[-LOG_TAIL_LINES:]
            report.sections.append((f"log {log.path}", "\n".join(lines)))
    return report


@pytest.fixture(scope="session", autouse=True)
def fuse_device() -> None:
    """Anyone may mount, as on every desktop; some machines have the device for root alone."""
    device = Path("/dev/fuse")
    if not device.exists():
        pytest.fail("there is no /dev/fuse here: these tests show nothing without it")
    if os.geteuid() == 0 and stat.S_IMODE(device.stat().st_mode) != 0o666:
        device.chmod(0o666)


@pytest.fixture(scope="session", autouse=True)
def reachable_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let other users of the machine pass through the folders of tests: some tests mount as one of them."""
    for folder in (tmp_path_factory.getbasetemp(), *tmp_path_factory.getbasetemp().parents[:1]):
        if folder.owner() == "root" and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def module_admin(module_server: Server) -> Device:
    """The device that makes workspaces and users."""
    device = Device(module_server.folder / "admin", "admin-desk", module_server.url)
    device.login(module_server.admin_password_file)
    return device


@pytest.fixture
def logs(request: pytest.FixtureRequest) -> Iterator[list[Log]]:
    """The logs that the test's processes write. After it, none may hold trouble that it didn't announce."""
    logs: list[Log] = request.node.stash.setdefault(_LOGS, [])
    yield logs
    trouble = [f"{log.path}: {line}" for log in logs for line in log.unexpected()]
    assert not trouble, "unexpected lines in logs:\n" + "\n".join(trouble)


@pytest.fixture
def new_world(
    logs: list[Log], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Server, Device, Log, str], World]]:
    worlds: list[World] = []

    def make(server: Server, admin: Device, server_log: Log, workspace: str) -> World:
        folder = tmp_path_factory.mktemp("w")
        folder.chmod(0o711)
        worlds.append(World(folder, server, admin, logs, server_log, workspace))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def world(
    module_server: Server,
    module_admin: Device,
    new_world: Callable[[Server, Device, Log, str], World],
    tmp_path_factory: pytest.TempPathFactory,
) -> World:
    """A new workspace on the module's server."""
    name = tmp_path_factory.mktemp("workspace").name
    module_admin.run("workspace", "create", name)
    return new_world(module_server, module_admin, module_server.log.from_here(), name)


@pytest.fixture(scope="module")
def shared_mount(
    module_server: Server, module_admin: Device, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mount]:
    """One mount for all tests of a module that need nothing but a folder on a drive."""
    name = tmp_path_factory.mktemp("shared").name
    module_admin.run("workspace", "create", name)
    device = Device(tmp_path_factory.mktemp("device"), "shared", module_server.url)
    device.login(module_server.admin_password_file)
    mount = Mount(device, device.folder / "mounts", name).start()
    try:
        yield mount
    finally:
        mount.close()


@pytest.fixture
def drive(shared_mount: Mount, logs: list[Log]) -> Path:
    """A folder of the test's own on the module's mount, which is mounted anew where an earlier test broke it."""
    if shared_mount.process is None or not shared_mount.process.running:
        shared_mount.close()
        shared_mount.start()
    logs.append(shared_mount.log.from_here())
    folder = shared_mount.path / f"test {len(os.listdir(shared_mount.path))}"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def second_mount(
    module_server: Server, shared_mount: Mount, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mount]:
    """Another device's mount of the same workspace."""
    device = Device(tmp_path_factory.mktemp("device"), "second", module_server.url)
    device.login(module_server.admin_password_file)
    mount = Mount(device, device.folder / "mounts", shared_mount.workspace).start()
    try:
        yield mount
    finally:
        mount.close()


@pytest.fixture
def both(drive: Path, second_mount: Mount, logs: list[Log]) -> tuple[Path, Path]:
    """The test's folder as the module's mount has it, and as another device has it."""
    logs.append(second_mount.log.from_here())
    return drive, second_mount.path / drive.name


@pytest.fixture
def new_own_world(
    new_world: Callable[[Server, Device, Log, str], World], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., World]]:
    """Makes a server with these flags, which the test may stop and kill: the default workspace of its admin."""
    worlds: list[World] = []

    def make(*flags: str) -> World:
        server = Server(tmp_path_factory.mktemp("server"), *flags).start()
        admin = Device(server.folder / "admin", "admin-desk", server.url)
        worlds.append(new_world(server, admin, server.log, "home"))
        admin.login(server.admin_password_file)
        return worlds[-1]

    yield make
    for world in worlds:
        try:
            if world.server.process is None:
                world.server.start()
            world.close()
        finally:
            world.server.close()


@pytest.fixture
def own_world(new_own_world: Callable[..., World]) -> World:
    """One whose server has no flags."""
    return new_own_world()
