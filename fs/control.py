"""How other processes speak with a mount: a Unix socket of its own, one line of JSON each way.

Requests are ``{"ask": "status"}``, ``{"ask": "wait"}``, ``{"ask": "conflicts"}`` and ``Decision``; answers
``{"ok": …}`` or ``{"error": "…"}``, with names in base64. Beside each socket lies a description of the mount, so that a
mount whose server or kernel hangs can still be found and asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from backend.drive import Drive
from backend.errors import DriveError
from protocol.messages.conflicts import Keep

_STATUS_S: Final = 5.0
"""For the answer to ``status``, which waits for nothing: later, the mount's process is stopped."""

_REQUEST_MAX_BYTES: Final = 1 << 16
"""A path has at most 4,096 bytes (PATH_MAX), before base64."""

log = logging.getLogger(__name__)


class MountRecord(msgspec.Struct, frozen=True):
    """One mount of this person on this machine."""

    folder: str
    pid: int
    url: str
    workspace: str
    device: str
    cache: str


def _stem(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]


def records(registry: Path) -> list[MountRecord]:
    """The mounts whose processes live; what dead ones left is removed."""
    found = []
    for path in registry.glob("*.json"):
        try:
            record = msgspec.json.decode(path.read_bytes(), type=MountRecord)
        except (OSError, msgspec.DecodeError):
            continue
        with _connected(registry, Path(record.folder)) as channel:
            if channel is not None:
                found.append(record)
            else:
                path.unlink(missing_ok=True)
                path.with_suffix(".sock").unlink(missing_ok=True)
    return sorted(found, key=lambda record: record.folder)


class Decision(msgspec.Struct, frozen=True, tag_field="ask", tag="resolve"):
    """Which conflict copy below the mount to decide about, and what to keep."""

    path: list[bytes]
    keep: Keep


def ask(registry: Path, folder: Path, question: str | Decision) -> Any:
    """Ask a mount; raises DriveError with its answer's text, and FileNotFoundError where none is mounted there."""
    with _connected(registry, folder) as channel:
        if channel is None:
            raise FileNotFoundError(str(folder))
        channel.settimeout(_STATUS_S if question == "status" else None)
        asked = {"ask": question} if isinstance(question, str) else question
        channel.sendall(msgspec.json.encode(asked) + b"\n")
        answer = b""
        try:
            while part := channel.recv(1 << 16):
                answer += part
        except TimeoutError:
            raise DriveError(f"the mount at {folder} doesn't answer: is its process stopped?") from None
    if not answer:
        raise DriveError(f"the mount at {folder} went away")
    decoded = msgspec.json.decode(answer)
    if "error" in decoded:
        raise DriveError(decoded["error"])
    return decoded["ok"]


@contextlib.contextmanager
def _connected(registry: Path, folder: Path) -> Iterator[socket.socket | None]:
    with socket.socket(socket.AF_UNIX) as channel, _short(registry) as short:
        try:
            channel.connect(f"{short}/{_stem(folder)}.sock")
        except OSError:
            yield None
        else:
            yield channel


@contextlib.contextmanager
def _short(registry: Path) -> Iterator[str]:
    """A path of the folder that fits a socket's address (108 bytes, unix(7))."""
    registry.mkdir(parents=True, exist_ok=True, mode=0o700)
    fd = os.open(registry, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


async def serve_control(
    registry: Path,
    record: MountRecord,
    drive: Drive,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer until cancelled; the record and the socket are there meanwhile."""
    stem = _stem(Path(record.folder))
    description = registry / f"{stem}.json"
    listener = trio.socket.socket(socket.AF_UNIX)
    with _short(registry) as short, listener:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{short}/{stem}.sock")
        await listener.bind(f"{short}/{stem}.sock")
        os.chmod(f"{short}/{stem}.sock", 0o600)
        listener.listen()
        description.write_bytes(msgspec.json.encode(record))
        task_status.started()
        try:
            await trio.serve_listeners(partial(_answer, record, drive), [trio.SocketListener(listener)])
        finally:
            description.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{short}/{stem}.sock")


async def _answer(record: MountRecord, drive: Drive, stream: trio.SocketStream) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async with stream:
            question = b""
            while not question.endswith(b"\n") and len(question) < _REQUEST_MAX_BYTES:
                if not (part := await stream.receive_some(_REQUEST_MAX_BYTES)):
                    return
                question += part
            try:
                answer: dict[str, Any] = {"ok": await _answer_to(question, record, drive)}
            except (DriveError, msgspec.DecodeError) as error:
                answer = {"error": str(error)}
            except Exception:
                log.exception("a question was not answered: %.200r", question)
                answer = {"error": "a fault of the program: the mount's log has it"}
            await stream.send_all(msgspec.json.encode(answer))


async def _answer_to(question: bytes, record: MountRecord, drive: Drive) -> Any:
    match msgspec.json.decode(question):
        case {"ask": "status"}:
            await drive.look_for_keys()
            return {**msgspec.to_builtins(record), **msgspec.to_builtins(drive.status())}
        case {"ask": "wait"}:
            await drive.synced()
            return {}
        case {"ask": "conflicts"}:
            return [msgspec.to_builtins(copy) for copy in await drive.conflicts()]
        case {"ask": "resolve"}:
            decision = msgspec.json.decode(question, type=Decision)
            await drive.resolve(decision.path, decision.keep)
            return {}
        case _:
            raise DriveError("a mount answers status, wait, conflicts and resolve")
