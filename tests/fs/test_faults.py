"""A fault of the program costs the request that met it, and no other: nothing but FUSEError leaves a handler."""

from __future__ import annotations

import errno
import inspect
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, cast

import pyfuse3
import pytest
import trio

from backend.drive import Drive
from backend.errors import DriveError
from fs.answering import Deadlines
from fs.control import MountRecord, ask, serve_control
from fs.entries import Entries
from fs.inodes import Inodes
from fs.operations import Operations

ROOT = int(pyfuse3.ROOT_INODE)
UNKNOWN = 4711


class FaultyDrive:
    """Whatever it is asked, it fails as nothing is expected to, a path for people among it."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        def fail(*arguments: object, **named: object) -> NoReturn:
            raise ZeroDivisionError(name)

        return fail


def arguments_of(handler: str) -> list[Any]:
    """Such as the kernel could give, of the root, or of a handle that nobody has."""
    fields = pyfuse3.SetattrFields()
    values = {
        "name": b"user.name", "parent_inode": ROOT, "inode": ROOT, "fh": UNKNOWN, "ctx": None, "mode": 0o644, "rdev": 0,
        "target": b"target", "new_parent_inode": ROOT, "new_name": b"new", "parent_inode_old": ROOT,
        "name_old": b"old", "parent_inode_new": ROOT, "name_new": b"new", "flags": 0, "attr": None, "fields": fields,
        "value": b"value", "off": 0, "size": 1, "buf": b"x", "start_id": 0, "token": None, "datasync": False,
    }  # fmt: skip
    return [values[name] for name in list(inspect.signature(getattr(Operations, handler)).parameters)[1:]]


HANDLERS = sorted(
    name
    for name, member in vars(Operations).items()
    if inspect.iscoroutinefunction(inspect.unwrap(cast(Callable[..., object], member)))
    and hasattr(pyfuse3.Operations, name)
    and name not in {"forget", "fsyncdir"}  # Without an answer; without anything to do.
)


@pytest.fixture
def operations() -> Operations:
    inodes = Inodes()
    return Operations(cast(Drive, FaultyDrive()), inodes, Entries(inodes, None), Deadlines(30.0))


def test_every_kind_of_request_is_tried() -> None:
    assert len(HANDLERS) > 20


@pytest.mark.parametrize("handler", [name for name in HANDLERS if name != "opendir"])
async def test_a_fault_is_eio_and_logged_with_the_operation(
    operations: Operations, handler: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(pyfuse3.FUSEError) as raised:
        await getattr(operations, handler)(*arguments_of(handler))
    assert raised.value.errno == errno.EIO
    (record,) = caplog.records
    assert (record.levelno, record.message.split()[0]) == (logging.ERROR, handler)
    assert record.exc_info


async def test_an_inode_that_nobody_was_told_of_is_eio(operations: Operations) -> None:
    for handler in ("getattr", "open", "opendir", "readlink", "listxattr"):
        with pytest.raises(pyfuse3.FUSEError) as raised:
            await getattr(operations, handler)(UNKNOWN, *arguments_of(handler)[1:])
        assert raised.value.errno == errno.EIO


async def test_forgetting_what_nobody_was_told_of_is_no_trouble(operations: Operations) -> None:
    await operations.forget([(UNKNOWN, 1), (ROOT, 1 << 60)])
    assert await operations.opendir(pyfuse3.ROOT_INODE, cast(Any, None)) > 0


async def test_a_question_to_the_control_socket_that_meets_a_fault_is_told_and_the_next_is_answered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = MountRecord(str(tmp_path), 1, "http://127.0.0.1", "home", "laptop", str(tmp_path))
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, tmp_path, record, cast(Drive, FaultyDrive()))
        for _ in range(2):
            with pytest.raises(DriveError, match="fault"):
                await trio.to_thread.run_sync(partial(ask, tmp_path, tmp_path, "conflicts"))
        nursery.cancel_scope.cancel()
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
