"""What one test has: a workspace, and the devices, mounts and wires that it asked for.

Owns ending them all, whatever state they are in.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.real.harness import Device, Log, Mount, Server
from tests.real.proxy import Wire


class World:
    """What one test has: a workspace of its own, devices, mounts and wires, all ended after it."""

    def __init__(
        self, folder: Path, server: Server, admin: Device, logs: list[Log], server_log: Log, workspace: str
    ) -> None:
        self.folder = folder
        self.server = server
        self.admin = admin
        self.workspace = workspace
        self.server_log = server_log
        self._logs = logs
        self._mounts: list[Mount] = []
        self._wires: list[Wire] = []
        logs.append(server_log)

    def device(
        self,
        name: str,
        *,
        wire: Wire | None = None,
        login: str | None = "admin",
        password_file: Path | None = None,
        user: int | None = None,
    ) -> Device:
        """A device that is logged in, unless ``login`` is None; over a wire where one is given."""
        device = Device(self.folder / name, name, wire.url if wire else self.server.url, user=user)
        if login is not None:
            if user is not None:
                password_file = _readable_copy(password_file or self.server.admin_password_file, device.folder, user)
            device.login(password_file or self.server.admin_password_file, login)
        return device

    def mount(
        self, name: str = "laptop", *flags: str, device: Device | None = None, workspace: str | None = None
    ) -> Mount:
        """A mount that is up, of a new device of that name where none is given."""
        mount = self.unmounted(name, *flags, device=device, workspace=workspace)
        return mount.start()

    def unmounted(
        self, name: str = "laptop", *flags: str, device: Device | None = None, workspace: str | None = None
    ) -> Mount:
        device = device or self.device(name)
        mount = Mount(device, device.folder / "mounts" / name, workspace or self.workspace, *flags)
        self._mounts.append(mount)
        self._logs.append(mount.log)
        return mount

    def wire(self) -> Wire:
        """A countable link to the server."""
        wire = Wire(self.server.port)
        self._wires.append(wire)
        return wire

    def wired(self, name: str = "laptop", *flags: str) -> tuple[Mount, Wire]:
        wire = self.wire()
        return self.mount(name, *flags, device=self.device(name, wire=wire)), wire

    def close(self) -> None:
        """May be called again: who stops a server ends first what hangs on it."""
        mounts, self._mounts = self._mounts, []
        wires, self._wires = self._wires, []
        for wire in wires:
            wire.heal()
        for mount in reversed(mounts):
            mount.close()
        for wire in wires:
            wire.close()


def _readable_copy(file: Path, folder: Path, user: int) -> Path:
    copy = folder / "password"
    copy.write_bytes(file.read_bytes())
    copy.chmod(0o600)
    os.chown(copy, user, user)
    return copy
