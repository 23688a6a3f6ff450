"""Between ASGI and messages: bodies in bounds, codecs by header, and what paths, queries and headers name.

Knows nothing of what is asked. What a request must not say is raised as ``Trouble``.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from protocol import problems
from protocol.ids import BLOCK_ID_BYTES, JOURNAL_ID_BYTES, BlockId, JournalId, NodeId, Seq, SessionId, WorkspaceId
from protocol.limits import KIB, PASSWORD_MAX_BYTES, SEALED_NAME_MAX_BYTES
from protocol.messages.sessions import SESSION_HEADER
from protocol.messages.wire import INTEGER_MAX, JSON, MSGPACK, Message, out_of_range
from server.troubles import Trouble

M = TypeVar("M", bound=Message)

HEX_ID: Final = re.compile(r"[0-9a-f]{32}\Z")

MESSAGE_MAX_BYTES: Final = 256 * KIB
"""The longest message but a batch of changes is a list of MISSING_QUERY_BLOCKS ids in JSON: 192 KiB."""

STALL_S: Final = 30.0
STALL_BYTES: Final = 16 * KIB
"""A body of which less has come after so long a wait is given up: it holds a place that others want."""


class UndecodedPaths:
    """Routes on the path as it was sent: names of any bytes stay percent-encoded until a handler takes them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application with the raw path as its path."""
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].split(b"?")[0].decode("latin-1")}
        await self._app(scope, receive, send)


# ── in ──


async def body(request: Request, most_bytes: int) -> bytearray:
    """The whole body; raises Trouble where it is longer than ``most_bytes``, before reading all of it, or stalls."""
    declared = declared_bytes(request)
    too_large = Trouble(problems.BODY_TOO_LARGE, f"this request takes a body of at most {most_bytes} bytes")
    if declared is not None and declared > most_bytes:
        raise too_large
    content, end = bytearray(declared or 0), 0
    async with aclosing(body_parts(request)) as parts:
        async for part in parts:
            if end + len(part) > most_bytes:
                raise too_large
            content[end : end + len(part)] = part
            end += len(part)
    del content[end:]
    return content


async def body_parts(request: Request) -> AsyncGenerator[bytes, None]:
    """The body as it comes; raises Trouble where too little comes, and ClientDisconnect where it breaks off.

    Only the time for which the client is waited for counts.
    """
    waited_s, came_bytes = 0.0, 0
    async with aclosing(request.stream()) as stream:
        while True:
            since_s = trio.current_time()
            with trio.move_on_after(STALL_S - waited_s) as progress:
                part = await anext(stream, None)
            if progress.cancelled_caught:
                raise Trouble(problems.BAD_REQUEST, f"hardly anything of the body came for {STALL_S:g} seconds")
            if part is None:
                return
            waited_s, came_bytes = waited_s + trio.current_time() - since_s, came_bytes + len(part)
            if came_bytes >= STALL_BYTES:
                waited_s, came_bytes = 0.0, 0
            if part:
                yield part


def declared_bytes(request: Request) -> int | None:
    """The body's length by its header, 0 where there is none; None where only its end will tell. Raises Trouble."""
    text = request.headers.get("content-length")
    if text is None:
        return None if "transfer-encoding" in request.headers else 0
    return _number("the Content-Length", text)


async def message(request: Request, kind: type[M], most_bytes: int = MESSAGE_MAX_BYTES) -> M:
    """The message in a body, JSON or MessagePack by Content-Type; raises Trouble."""
    content = await body(request, most_bytes)
    decode = msgspec.msgpack.decode if _names_msgpack(request, "content-type") else msgspec.json.decode
    try:
        found = decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Trouble(problems.BAD_REQUEST, f"the body is not what this request takes: {error}") from None
    if (number := out_of_range(found)) is not None:
        raise Trouble(problems.BAD_REQUEST, f"the body is not what this request takes: {number} is out of range")
    return found


class Asking(NamedTuple):
    """The mount that a request comes from, what it has applied, and up to where its kernel has dropped things too."""

    session: SessionId
    applied: Seq
    acknowledged: Seq


def asking_of(request: Request) -> Asking | None:
    """What SESSION_HEADER says; None where it is absent. Raises Trouble."""
    text = request.headers.get(SESSION_HEADER)
    if text is None:
        return None
    session, _, numbers = text.partition(" ")
    applied, _, acknowledged = numbers.partition(" ")
    if not HEX_ID.match(session):
        raise Trouble(problems.BAD_REQUEST, "a session id has 32 lower-case hexadecimal digits")
    return Asking(
        SessionId(bytes.fromhex(session)),
        Seq(_number("what was applied", applied)),
        Seq(_number("what is acknowledged", acknowledged)),
    )


def address_of(request: Request) -> str:
    """Where the request came from: behind a proxy, the proxy's address."""
    return request.client.host if request.client else ""


def workspace_of(request: Request) -> WorkspaceId:
    """The workspace in the path; raises Trouble."""
    identity = request.path_params["workspace"]
    if not HEX_ID.match(identity):
        raise Trouble(problems.NOT_FOUND, "there is no such workspace")
    return WorkspaceId(identity)


def journal_of(request: Request) -> JournalId:
    """The journal in the path; raises Trouble."""
    text = request.path_params["journal"]
    if not HEX_ID.match(text):
        raise Trouble(problems.BAD_REQUEST, "a journal id has 32 lower-case hexadecimal digits")
    return JournalId(bytes.fromhex(text))


def check_journal(journal: JournalId) -> None:
    """Raises Trouble where this is no journal's id."""
    if len(journal) != JOURNAL_ID_BYTES:
        raise Trouble(problems.BAD_REQUEST, f"a journal id has {JOURNAL_ID_BYTES} bytes")


def node_of(request: Request) -> NodeId:
    """The node in the path; raises Trouble."""
    return NodeId(_number("the node", request.path_params["node"]))


def block_of(request: Request) -> BlockId:
    """The block in the path; raises Trouble."""
    return _block(request.path_params["block"])


def block_query(request: Request, name: str) -> BlockId:
    """A block that the query names, or what is before all; raises Trouble."""
    text = _raw_query(request, name)
    return _block(text) if text else BlockId(b"")


def _block(text: str) -> BlockId:
    try:
        block = bytes.fromhex(text)
    except ValueError:
        block = b""
    if len(block) != BLOCK_ID_BYTES or text != block.hex():
        raise Trouble(problems.BAD_REQUEST, "a block id has 64 lower-case hexadecimal digits")
    return BlockId(block)


def check_name(what: str, name: str, most_chars: int) -> None:
    """Raises Trouble for what can't be the name of a user, a device or a workspace."""
    if not 0 < len(name) <= most_chars or not name.isprintable() or "/" in name or name != name.strip():
        raise Trouble(
            problems.BAD_REQUEST, f"{what} has 1 to {most_chars} printable characters without / and outer spaces"
        )


def check_password(password: str) -> None:
    """Raises Trouble for what can't be one."""
    if not 0 < len(password.encode()) <= PASSWORD_MAX_BYTES:
        raise Trouble(problems.BAD_REQUEST, f"a password has 1 to {PASSWORD_MAX_BYTES} bytes")


def check_expiry(expires_ns: int | None, now_ns: int) -> None:
    """Raises Trouble for a time that has passed."""
    if expires_ns is not None and expires_ns <= now_ns:
        raise Trouble(problems.BAD_REQUEST, "expires_ns is a time to come, in nanoseconds since 1970")


def name_of(encoded: str) -> bytes:
    """A name's bytes from percent-encoding; raises Trouble for what can't be one in any workspace."""
    name = unquote_to_bytes(encoded)
    if len(name) > SEALED_NAME_MAX_BYTES or b"/" in name or b"\0" in name:
        raise Trouble(problems.BAD_REQUEST, "not a name of a file: 1 to 255 bytes without / and NUL")
    return name


def names_of(encoded: str) -> list[bytes]:
    """The names in a percent-encoded path from the workspace's root; raises Trouble. "" is the root itself."""
    names = [name_of(part) for part in encoded.split("/")] if encoded else []
    if any(name in (b"", b".", b"..") for name in names):
        raise Trouble(problems.BAD_REQUEST, "not a path: names that are not empty, . or .., with / between them")
    return names


def raw_query(request: Request, name: str) -> str:
    """A query parameter as it was sent, still percent-encoded; "" where it is absent. Raises Trouble."""
    return _raw_query(request, name) or ""


def _raw_query(request: Request, name: str) -> str | None:
    found: str | None = None
    for part in request.scope["query_string"].decode("latin-1").split("&"):
        key, _, value = part.partition("=")
        if key == name:
            if found is not None:
                raise Trouble(problems.BAD_REQUEST, f"{name} comes more than once")
            found = str(value)
    return found


def number_query(request: Request, name: str, default: int | None, most: int = 1 << 62) -> int | None:
    """A whole number of the query; raises Trouble."""
    text = _raw_query(request, name)
    return default if text is None else min(most, _number(name, text))


def limit_query(request: Request, default: int, most: int) -> int:
    """How many are asked for, ``most`` of whom are given; raises Trouble."""
    limit = number_query(request, "limit", default, most)
    if not limit:
        raise Trouble(problems.BAD_REQUEST, "limit is 1 or more")
    return limit


def flag_query(request: Request, name: str) -> bool:
    """Whether ``name=1`` is said; raises Trouble for what is neither 0 nor 1."""
    text = _raw_query(request, name)
    if text not in (None, "0", "1"):
        raise Trouble(problems.BAD_REQUEST, f"{name} is 1 or 0")
    return text == "1"


def text_query(request: Request, name: str, most_bytes: int) -> str:
    """A text of the query; raises Trouble."""
    text = unquote_to_bytes(raw_query(request, name).replace("+", " "))
    if len(text) > most_bytes:
        raise Trouble(problems.BAD_REQUEST, f"{name} has at most {most_bytes} bytes")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise Trouble(problems.BAD_REQUEST, f"{name} is text in UTF-8") from None


def seconds_query(request: Request, name: str, most: float) -> float:
    """Seconds of the query, at most ``most``; raises Trouble."""
    text = _raw_query(request, name)
    try:
        seconds = 0.0 if text is None else float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise Trouble(problems.BAD_REQUEST, f"{name} is a number of seconds")
    return min(most, seconds)


def _number(what: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 19 or int(text) > INTEGER_MAX:
        raise Trouble(problems.BAD_REQUEST, f"{what} is a whole number")
    return int(text)


# ── out ──


def reply(request: Request, content: Message, status: int = 200) -> Response:
    """An answer in JSON, or in MessagePack where Accept says so."""
    if _names_msgpack(request, "accept"):
        return Response(msgspec.msgpack.encode(content), status, media_type=MSGPACK)
    return Response(msgspec.json.encode(content), status, media_type=JSON)


def no_content() -> Response:
    """204."""
    return Response(status_code=204)


def _names_msgpack(request: Request, header: str) -> bool:
    return any(part.partition(";")[0].strip() == MSGPACK for part in request.headers.get(header, "").split(","))
