"""Real servers and real mounts for tests and benchmarks: every one a process with folders of its own.

Owns starting, awaiting, stopping and killing them, and what their logs may hold. Knows the product by its
command line alone, so that it tests what a person gets. Nothing here sleeps: processes are awaited by pidfd,
mounts by the kernel's word that /proc/self/mounts changed, servers by the line that they print.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
PROGRAM: Final = (sys.executable, str(REPOSITORY / "mount.py"))

START_S: Final = 30.0
"""For a process to be ready, or to end: long, because a busy machine is no failure."""

_SUSPECT: Final = re.compile(
    r"Traceback \(most recent call last\)|\[(?:warning|error|critical) *\]|\"level\": ?\"(?:warning|error|critical)\""
    r"|level=['\"]?(?:warning|error|critical)|^\S*(?:Warning|Error|Exception)\b.*:",
    re.MULTILINE | re.IGNORECASE,
)
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;]*m")


class Failed(Exception):
    """A process didn't do what it was started for; the text has its output."""


# ── processes ────────────────────────────────────────────────────────────────────────────────────────


def environment(home: Path) -> dict[str, str]:
    """What a program sees whose every folder is below ``home``."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "SAMEDRIVE"))}
    folders = {
        "HOME": home,
        "XDG_CONFIG_HOME": home / "config",
        "XDG_DATA_HOME": home / "data",
        "XDG_STATE_HOME": home / "state",
        "XDG_CACHE_HOME": home / "cache",
        "XDG_RUNTIME_DIR": home / "run",
    }
    for folder in folders.values():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {
        **inherited,
        **{name: str(folder) for name, folder in folders.items()},
        "PYTHONUNBUFFERED": "1",
        "GIT_CONFIG_NOSYSTEM": "1",
    }


def as_user(user: int | None, command: Sequence[str]) -> Sequence[str]:
    """The command run as an ordinary user, who may read the interpreter and this repository wherever they lie."""
    if user is None:
        return command
    may_read = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    return ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *may_read, "--", *command)


class Process:
    """A child whose output goes to a log, line by line, and can be waited for."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        env: dict[str, str],
        *,
        cwd: Path | None = None,
        user: int | None = None,
    ) -> None:
        self.log = log
        self.command = command
        with log.open("ab") as output:
            output.write(f"$ {' '.join(command)}\n".encode())
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._child = subprocess.Popen(
            as_user(user, command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
        )
        self.pid = self._child.pid
        self._pidfd = os.pidfd_open(self.pid)
        self._reader = threading.Thread(target=self._read, name=f"log of {self.pid}")
        self._reader.start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        with self.log.open("ab") as output:
            for line in self._child.stdout:
                output.write(line)
                output.flush()
                with self._changed:
                    self._lines.append(_ESCAPES.sub("", line.decode(errors="replace").rstrip("\n")))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for_line(self, pattern: str, timeout_s: float = START_S) -> re.Match[str]:
        """The first line, from the process's start on, in which the pattern is found."""

        def found() -> re.Match[str] | None:
            return next((match for line in self._lines if (match := re.search(pattern, line))), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, timeout_s)
            match = found()
        if match is None:
            raise Failed(f"{' '.join(self.command)}: no line matches {pattern!r}\n{self.output}")
        return match

    @property
    def output(self) -> str:
        with self._changed:
            return "\n".join(self._lines)

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    @property
    def pidfd(self) -> int:
        """Readable once the process has ended."""
        return self._pidfd

    def signal(self, number: int) -> None:
        self._child.send_signal(number)

    def wait(self, timeout_s: float = START_S) -> int:
        """Its exit status; negative for a signal."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if not poll.poll(timeout_s * 1000):
            raise Failed(f"{' '.join(self.command)} did not end within {timeout_s} s\n{self.output}")
        status = self._child.wait()
        self._reader.join(START_S)
        return status

    def close(self) -> None:
        """Kill it where it still runs; gives back what it held."""
        if self.running:
            self._child.kill()
        self.wait()
        assert self._child.stdout is not None
        self._child.stdout.close()
        os.close(self._pidfd)

    def peak_memory_bytes(self) -> int:
        """The most that was ever resident (VmHWM)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert match
        return int(match[1]) * 1024


class Log:
    """A log file, and the lines in it that a test said would come."""

    def __init__(self, path: Path, start_bytes: int = 0) -> None:
        self.path = path
        self._start_bytes = start_bytes
        self._expected: list[re.Pattern[str]] = []

    def from_here(self) -> Log:
        """The same file, from what is written after now: for one test of a server that several share."""
        return Log(self.path, self.path.stat().st_size)

    def expect(self, pattern: str) -> None:
        """Lines with this pattern are no failure, nor is a traceback right below one."""
        self._expected.append(re.compile(pattern))

    def text(self) -> str:
        if not self.path.exists():
            return ""
        with self.path.open("rb") as file:
            file.seek(self._start_bytes)
            return _ESCAPES.sub("", file.read().decode(errors="replace"))

    def unexpected(self) -> list[str]:
        """Lines that tell of trouble which no test announced."""
        return [
            line
            for line in self.text().splitlines()
            if _SUSPECT.search(line) and not any(each.search(line) for each in self._expected)
        ]


# ── the server ───────────────────────────────────────────────────────────────────────────────────────


def free_port() -> int:
    """A port that nothing listens on; a server that restarts keeps it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A server on a data folder of its own; started again, it listens where it did before."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.data = folder / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = Log(folder / "server.log")
        self.flags = flags
        self._env = environment(folder / "home")
        self.process: Process | None = None

    @property
    def admin_password_file(self) -> Path:
        return self.data / "admin-password"

    def start(self) -> Server:
        command = (*PROGRAM, "serve", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}", *self.flags)
        self.process = Process(command, self.log.path, self._env)
        self.process.wait_for_line(re.escape(self.url))
        return self

    def _running(self) -> Process:
        assert self.process is not None
        return self.process

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        process = self._running()
        process.signal(signal.SIGTERM)
        status = process.wait()
        process.close()
        self.process = None
        return status

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nobody is told."""
        process = self._running()
        process.signal(signal.SIGKILL)
        process.wait()
        process.close()
        self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def peak_memory_bytes(self) -> int:
        return self._running().peak_memory_bytes()

    def close(self) -> None:
        if self.process is not None:
            process, self.process = self.process, None
            process.signal(signal.SIGTERM)
            try:
                process.wait()
            finally:
                process.close()


# ── devices and mounts ───────────────────────────────────────────────────────────────────────────────


def interpreter_for(user: int) -> tuple[str, str] | None:
    """A Python of this version that the user may run, and a PYTHONPATH that holds what this one has installed.

    A Python that lies in somebody's home is closed to others; then the system's does, with the same packages.
    """
    version = ".".join(map(str, sys.version_info[:2]))
    packages = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    for python in (sys.executable, f"/usr/bin/python{version}"):
        with suppress(OSError):
            done = subprocess.run(
                (python, "-c", "import pyfuse3"),
                env={"PYTHONPATH": packages},
                user=user,
                group=user,
                extra_groups=[],
                capture_output=True,
                check=False,
            )
            if done.returncode == 0:
                return python, packages
    return None


class Device:
    """A person's machine: a home folder of its own, and what was logged in from there."""

    def __init__(self, folder: Path, name: str, url: str, *, user: int | None = None) -> None:
        self.folder = folder
        self.name = name
        self.url = url
        self.user = user
        self.env = environment(folder)
        self.program: tuple[str, ...] = PROGRAM
        if user is not None:
            interpreter = interpreter_for(user)
            assert interpreter is not None
            self.program = (interpreter[0], *PROGRAM[1:])
            self.env["PYTHONPATH"] = interpreter[1]
            for path in (folder, *folder.rglob("*")):
                os.chown(path, user, user)

    def run(self, *arguments: str, check: bool = True, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """One command of the program; raises Failed where it fails and ``check`` is left on."""
        done = subprocess.run(
            as_user(self.user, (*PROGRAM, *arguments)),
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise Failed(f"{' '.join(arguments)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def login(self, password_file: Path, user: str = "admin", url: str | None = None) -> None:
        self.run(
            *("login", url or self.url, "--user", user),
            *("--password-file", str(password_file), "--device", self.name),
        )


def mounted(folder: Path) -> bool:
    """Whether a file system is mounted there, by the kernel's table: asks no file system, so it can't hang."""
    name = re.sub(r"[ \t\n\\]", lambda match: f"\\{ord(match[0]):03o}", str(folder))
    return any(line.split(" ")[1] == name for line in Path("/proc/self/mounts").read_text().splitlines())


def wait_mounts(condition: Callable[[], bool], timeout_s: float, process: Process | None = None) -> bool:
    """Wait until the condition on the mount table holds; False where the time is over or the process ended."""
    deadline = time.monotonic() + timeout_s
    with open("/proc/self/mounts", "rb", buffering=0) as table:
        poll = select.poll()
        poll.register(table, select.POLLPRI | select.POLLERR)
        if process is not None:
            poll.register(process.pidfd, select.POLLIN)
        while not condition():
            ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not ready or (process is not None and (process.pidfd, select.POLLIN) in ready):
                return condition()
    return True


class Mount:
    """One mount of one workspace, in the foreground of a process of its own."""

    def __init__(self, device: Device, folder: Path, workspace: str, *flags: str) -> None:
        self.device = device
        self.path = folder / "drive"
        self.cache = folder / "cache"
        self.workspace = workspace
        self.flags = flags
        folder.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(exist_ok=True)
        if device.user is not None:
            os.chown(folder, device.user, device.user)
            os.chown(self.path, device.user, device.user)
        self.log = Log(folder / "mount.log")
        self.process: Process | None = None

    @property
    def command(self) -> tuple[str, ...]:
        return (
            *self.device.program,
            *("mount", self.device.url, str(self.path), "--workspace", self.workspace),
            *("--device", self.device.name, "--cache", str(self.cache), "--foreground"),
            *self.flags,
        )

    def start(self) -> Mount:
        self.process = Process(self.command, self.log.path, self.device.env, user=self.device.user)
        try:
            # The mount table is no witness: a dead mount may stand there from before.
            self.process.wait_for_line(r"\bmounted at\b")
        except Failed:
            process, self.process = self.process, None
            process.close()
            raise
        return self

    def unmount(self) -> None:
        """As a person does; returns once the process has ended well."""
        self.device.run("umount", str(self.path))
        assert self.process is not None
        process, self.process = self.process, None
        status = process.wait()
        process.close()
        if status != 0:
            raise Failed(f"the mount ended with status {status}\n{process.output}")

    def kill(self) -> None:
        """SIGKILL; leaves the dead mount point, as a crash does."""
        assert self.process is not None
        process, self.process = self.process, None
        process.signal(signal.SIGKILL)
        process.wait()
        process.close()

    def remount(self) -> None:
        self.unmount()
        self.start()

    def remount_empty(self) -> None:
        """Unmount, throw the cache away, mount again: whatever is seen then came from the server."""
        self.unmount()
        shutil.rmtree(self.cache)
        self.start()

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.device.run("status", str(self.path), "--json").stdout)
        return answer

    def wait(self) -> None:
        """Until all that was written here is committed."""
        self.device.run("wait", str(self.path))

    def peak_memory_bytes(self) -> int:
        assert self.process is not None
        return self.process.peak_memory_bytes()

    def read_calls(self) -> int:
        """How many read(2) calls the mount's process has made: the kernel's requests come by such."""
        assert self.process is not None
        match = re.search(r"syscr: (\d+)", Path(f"/proc/{self.process.pid}/io").read_text())
        assert match
        return int(match[1])

    def caught_up_with(self, other: Mount, timeout_s: float = 15.0) -> None:
        """Until this mount has applied every change that the other one has."""
        seq = other.status()["seq"]
        self.until(lambda status: bool(status["seq"] >= seq), timeout_s, f"change {seq}")

    def until(self, condition: Callable[[dict[str, Any]], bool], timeout_s: float = 15.0, wanted: object = "") -> None:
        """Ask for the status, each time anew, until the condition on it holds."""
        deadline = time.monotonic() + timeout_s
        while not condition(status := self.status()):
            if time.monotonic() > deadline:
                raise Failed(f"{self.path}: waited {timeout_s} s for {wanted}, the status is {status}")

    def close(self) -> None:
        """Unmount whatever the state, and end the process."""
        if mounted(self.path):
            subprocess.run(("fusermount3", "-uz", str(self.path)), check=False, capture_output=True)
            wait_mounts(lambda: not mounted(self.path), START_S)
        if self.process is not None:
            process, self.process = self.process, None
            try:
                process.wait()
            finally:
                process.close()
