"""One request to the server and its answer: the token, the repeats, and what each problem means.

Knows codecs and errors; knows nothing of what is asked. Every request of this program may be repeated without harm
(changes carry numbers), so one that gets no answer is sent again with growing pauses while ``Patience`` lasts.

Invariant: what leaves here is an answer with status 2xx or a DriveError.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final, TypeVar

import msgspec
import trio

from backend.errors import (
    DriveError,
    JournalTaken,
    ListingChanged,
    NoSpace,
    NotFound,
    Offline,
    ReadOnly,
    Refused,
    SessionEnded,
    Unauthorized,
    Unusable,
)
from backend.http import Http, Lane, Response, Traffic
from backend.reach import Reach
from protocol import problems
from protocol.messages.wire import API, MSGPACK, OCTETS, Message

M = TypeVar("M", bound=Message)
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call without an answer is repeated."""

    total_s: float = 10.0
    first_pause_s: float = 0.05
    most_pause_s: float = 2.0


PATIENT: Final = Patience()


IMPATIENT: Final = Patience(total_s=0.0)


class Caller:
    """Sends requests with a token, repeats unanswered ones, and turns problems into errors.

    After a call whose patience ran out, calls are tried once only until one is answered: a mount without its
    server fails at once, and not after the same wait for every file.
    """

    def __init__(
        self,
        http: Http,
        token: str | None,
        patience: Patience = PATIENT,
        random_source: random.Random | None = None,
        reach: Reach | None = None,
    ) -> None:
        """With a ``reach`` calls end when the mount begins to work apart from its server."""
        self._http = http
        self._reach = reach
        self._headers: dict[str, str] = {"Accept": MSGPACK}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._patience = patience
        self._random = random_source or random.Random()
        self._given_up = False

    @property
    def traffic(self) -> Traffic:
        """Counters of the connection below."""
        return self._http.traffic

    @property
    def reachable(self) -> bool:
        """False from a call whose patience ran out until one is answered."""
        return not self._given_up

    async def call(
        self,
        method: str,
        path: str,
        *,
        message: Message | None = None,
        octets: bytes | bytearray = b"",
        lane: Lane = Lane.SMALL,
        wait_s: float = 0.0,
        patience: Patience | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Response:
        """An answer with status 2xx; raises the error that the problem means."""
        sent, body = {**self._headers, **headers}, octets
        if message is not None:
            sent["Content-Type"], body = MSGPACK, msgspec.msgpack.encode(message)
        elif octets:
            sent["Content-Type"] = OCTETS
        request = partial(
            self._http.request, method, f"/{API}{path}", lane=lane, headers=sent, body=body, wait_s=wait_s
        )
        answer = partial(self._answer, request, patience or self._patience)
        response = await (answer() if self._reach is None else self._reach.guard(answer))
        if response.status >= 300:
            raise problem_of(response)
        return response

    async def _answer(self, request: Callable[[], Awaitable[Response]], patience: Patience) -> Response:
        """Send it until it is answered, or patience ends; raises Offline."""
        began, pause_s = trio.current_time(), patience.first_pause_s
        while True:
            try:
                response = await request()
                if response.status != problems.STATUS[problems.UNAVAILABLE]:
                    break
                failure = Offline("the server is stopping")
            except Offline as error:
                failure = error
            left_s = patience.total_s - (trio.current_time() - began)
            if self._given_up or left_s <= 0:
                self._given_up = self._given_up or patience.total_s > 0
                raise failure
            await trio.sleep(min(left_s, pause_s * self._random.uniform(0.5, 1.0)))
            pause_s = min(patience.most_pause_s, pause_s * 2)
        self._given_up = False
        return response

    async def ask(self, reply: type[M], method: str, path: str, message: Message | None = None) -> M:
        """A small call whose answer is a message."""
        return decode(reply, await self.call(method, path, message=message))


def decode(kind: type[M], response: Response) -> M:
    """The message in an answer; raises Unusable."""
    try:
        return msgspec.msgpack.decode(response.body, type=kind)
    except msgspec.DecodeError as error:
        raise Unusable(
            f"the server's answer is not what this version of samedrive expects ({error}); are both up to date?"
        ) from None


def problem_of(response: Response) -> DriveError:
    """The error that an answer with status 300 and above means."""
    try:
        problem = msgspec.json.decode(response.body, type=problems.Problem)
    except msgspec.DecodeError:
        text = f"the server answered with status {response.status}; is this a samedrive server?"
        # A proxy's word about a server that it can't reach: what became of the request is not known.
        return Offline(text) if response.status >= 500 else Unusable(text)
    text = problem.detail or problem.title
    match problem.code:
        case problems.UNAUTHORIZED:
            return Unauthorized(text)
        case problems.FORBIDDEN:
            return ReadOnly(text)
        case problems.NOT_FOUND:
            return NotFound(text)
        case problems.NO_SPACE | problems.QUOTA:
            return NoSpace(text)
        case problems.SESSION_ENDED:
            return SessionEnded(text)
        case problems.LISTING_CHANGED:
            return ListingChanged(text)
        case problems.CONFLICT:
            return Refused.named("EEXIST", text)
        case problems.END_TO_END:
            return Refused.named("EOPNOTSUPP", text)
        case problems.TOO_MANY_ATTEMPTS:
            return Refused.named("EAGAIN", text)
        case problems.BAD_REQUEST | problems.BODY_TOO_LARGE | problems.BAD_MANIFEST | problems.BAD_BLOCK:
            return Refused.named("EINVAL", text)
        case problems.OUT_OF_ORDER:
            return JournalTaken(text)
        case problems.UNAVAILABLE | problems.INTERNAL:
            return Offline(text)
        case _:
            return Unusable(f"{problem.title}: {text}")
