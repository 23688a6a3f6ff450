"""The server that ``samedrive up`` runs for one person on this machine.

Owns ``$XDG_DATA_HOME/samedrive``: ``server/`` is the server's data folder, ``port`` remembers where it listens (mounts
know it by that address), ``server.lock`` is locked by the server's process while it lives, and holds its process id.

The lock is taken before the process is started and handed down to it as an open file, so it is the kernel that
says whether the server runs, and a process id that was used again is never taken for it.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

PROGRAM: Final = Path(__file__).resolve().parent.parent / "mount.py"
_PORTS: Final = range(20_000, 32_000)
"""Below those that Linux hands to outgoing connections, so that none of these holds ours when we come back."""
_START_S: Final = 60.0
_STOP_S: Final = 60.0
_LOG_MAX_BYTES: Final = 8 * 1024 * 1024


class LocalServer:
    """``folder`` is where its data lies, ``log`` the file that it writes its log to."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.data = folder / "server"
        self.log = log
        self._folder = folder
        self._lock = folder / "server.lock"
        self._port = folder / "port"

    @property
    def password_file(self) -> Path:
        """Where the server keeps the password of ``admin``."""
        return self.data / "admin-password"

    @property
    def url(self) -> str:
        """Its address; a port is chosen when it is first asked for."""
        try:
            return f"http://127.0.0.1:{int(self._port.read_text())}"
        except FileNotFoundError:
            port = _free_port()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._port.write_text(f"{port}\n")
            return f"http://127.0.0.1:{port}"
        except ValueError:
            raise click.ClickException(f"{self._port} holds no port number: write the one that mounts use") from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other ``up`` and ``down`` of this person waiting meanwhile."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / "up.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def running(self) -> int | None:
        """The process id of the server; None where none runs. Call it ``alone``."""
        try:
            with self._lock.open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(lock.read())
        except FileNotFoundError:
            pass
        return None

    def start(self) -> None:
        """Start it, and return when it answers; call it ``alone``, while none runs. Raises click.ClickException."""
        url = self.url
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_MAX_BYTES:
            self.log.replace(self.log.with_suffix(".old"))
        with (
            tempfile.TemporaryDirectory(prefix="samedrive-") as private,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready,
            self._lock.open("a+") as lock,
            self.log.open("ab") as log,
        ):
            # The readiness protocol of systemd: see sd_notify(3).
            ready.bind(f"{private}/notify")
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.truncate(0)
            began_at = log.tell()
            server = subprocess.Popen(
                [sys.executable, PROGRAM, "serve", "--data", self.data, "--listen", url.removeprefix("http://")],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_without_settings(os.environ) | {"NOTIFY_SOCKET": f"{private}/notify"},
                pass_fds=[lock.fileno()],
                start_new_session=True,
            )
            lock.write(str(server.pid))
            lock.flush()
            if not _is_ready(server, ready):
                server.kill()
                server.wait()
                raise click.ClickException(f"the server did not start: {self._complaint(began_at)}")
            # It lives on when this process has ended: nobody here waits for its status.
            server.returncode = 0

    def stop(self, process: int) -> None:
        """End it, and return when it has; raises click.ClickException where it takes too long."""
        server = os.pidfd_open(process)
        try:
            signal.pidfd_send_signal(server, signal.SIGTERM)
            if not select.select([server], [], [], _STOP_S)[0]:
                raise click.ClickException(f"the server (process {process}) is still finishing; its log is {self.log}")
        finally:
            os.close(server)

    def _complaint(self, began_at: int) -> str:
        with self.log.open("rb") as log:
            log.seek(began_at)
            lines = log.read().decode(errors="replace").split("\n")
        said = [line.removeprefix("samedrive: ") for line in lines if line.strip()]
        return f"{said[-1]} (log: {self.log})" if said else f"see {self.log}"


def _without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that set up some other server of this person's are not meant for this one."""
    return {name: value for name, value in environment.items() if not name.startswith("SAMEDRIVE_")}


def _is_ready(server: subprocess.Popen[bytes], ready: socket.socket) -> bool:
    """Wait for the server's word, its end, or the deadline, whichever comes first."""
    end = os.pidfd_open(server.pid)
    try:
        while True:
            readable, _, _ = select.select([ready.fileno(), end], [], [], _START_S)
            if ready.fileno() not in readable:
                return False
            if b"READY=1" in ready.recv(4096).split(b"\n"):
                return True
    finally:
        os.close(end)


def _free_port() -> int:
    for port in _PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise click.ClickException(f"no port between {_PORTS.start} and {_PORTS.stop} is free on this machine")
