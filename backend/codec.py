"""How a workspace's texts cross the network: as they are, or sealed, where it is an end-to-end one.

Everything else of a mount knows plain texts alone; ``WorkspaceRemote`` seals what it sends and opens what comes. Which
fields of which messages have texts, the messages say (``protocol.messages.texts``): no list here could lack one.

Invariants:

- a message that is opened or sealed differs in its texts alone, and a sealed one has no plain text;
- an entry, an attribute or a conflict copy whose name does not open is left out, for nothing else here could name it:
  who made it has not the key of this workspace, and whoever may change a workspace may hide what is in it anyway. A
  target that does not open is empty, and what an answer to a change says was kept under a name that does not open has a
  name that means nothing: a batch ends when its answer is taken, so nobody else's name may make that useless.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import msgspec
from msgspec import inspect

from backend.errors import Unusable
from protocol.messages.batches import Conflict
from protocol.messages.conflicts import ConflictCopy
from protocol.messages.nodes import xattr_name_from_wire, xattr_name_to_wire
from protocol.messages.notices import TouchedEntry
from protocol.messages.texts import SEALED_AS, Text
from protocol.messages.tree import Entry, ListingReply
from protocol.messages.wire import Message
from protocol.sealednames import BadName, NameSealer, unnamed

M = TypeVar("M", bound=Message)

_Convert = Callable[[Any], Any]

_LEFT_OUT: Final = (Entry, TouchedEntry, ConflictCopy)
"""What is not in a list where its name does not open."""

log = logging.getLogger(__name__)


class Codec(Protocol):
    """Between plain texts here and what crosses the network."""

    def name(self, name: bytes) -> bytes:
        """An entry's name for the wire."""
        ...

    def outgoing(self, message: M) -> M:
        """A message for the wire."""
        ...

    def incoming(self, message: M) -> M:
        """A message from the wire; raises Unusable where it is of no use without a name in it that doesn't open."""
        ...


class PlainCodec:
    """Texts cross the network as they are."""

    def name(self, name: bytes) -> bytes:
        """The same, as below."""
        return name

    def outgoing(self, message: M) -> M:
        """The same."""
        return message

    def incoming(self, message: M) -> M:
        """The same."""
        return message


class SealedCodec:
    """Texts cross the network sealed by a workspace's names key."""

    def __init__(self, sealer: NameSealer) -> None:
        self._sealer = sealer
        self._seal = Converter(
            {
                Text.NAME: sealer.seal_name,
                Text.TARGET: lambda target: sealer.seal_target(target) if target else target,
                Text.XATTR_NAME: lambda name: xattr_name_to_wire(sealer.seal_xattr_name(xattr_name_from_wire(name))),
                Text.XATTR_VALUE: sealer.seal_xattr_value,
            }
        )
        self._open = Converter(
            {
                Text.NAME: sealer.open_name,
                Text.TARGET: self._opened_target,
                Text.XATTR_NAME: self._opened_xattr_name,
                Text.XATTR_VALUE: sealer.open_xattr_value,
            }
        )

    def name(self, name: bytes) -> bytes:
        """Sealed."""
        return self._sealer.seal_name(name)

    def outgoing(self, message: M) -> M:
        """Sealed."""
        return self._seal.converted(message)

    def incoming(self, message: M) -> M:
        """Opened; raises Unusable."""
        try:
            opened = self._open.converted(message)
        except BadName as error:
            raise Unusable(f"the server's answer is not of this workspace: {error}") from None
        if isinstance(opened, ListingReply) and opened.more and not opened.entries:
            raise Unusable("no name of a whole page of a folder opens with the key of this workspace")
        return opened

    def _opened_target(self, sealed: bytes) -> bytes:
        if not sealed:
            return sealed
        try:
            return self._sealer.open_target(sealed)
        except BadName as error:
            log.warning("a symbolic link's target is left empty: %s", error)
            return b""

    def _opened_xattr_name(self, sealed: str) -> str:
        try:
            return xattr_name_to_wire(self._sealer.open_xattr_name(xattr_name_from_wire(sealed)))
        except UnicodeEncodeError:
            raise BadName("not a sealed text") from None


class Converter:
    """Applies a function of each kind of text to all texts of that kind in a message."""

    def __init__(self, texts: dict[Text, _Convert]) -> None:
        self._texts = texts
        self._of: dict[type[Message], _Convert | None] = {}

    def converted(self, message: M) -> M:
        """The message with other texts; raises BadName."""
        kind = type(message)
        if kind not in self._of:
            self._of[kind] = self._for(inspect.type_info(kind))
        convert = self._of[kind]
        return message if convert is None else convert(message)

    def _for(self, of: inspect.Type) -> _Convert | None:
        """What converts values of a type; None where there are no texts in it."""
        match of:
            case inspect.Metadata() if of.extra is not None and SEALED_AS in of.extra:
                return self._texts[of.extra[SEALED_AS]]
            case inspect.Metadata():
                return self._for(of.type)
            case inspect.StructType():
                return self._for_struct(of)
            case inspect.ListType():
                item = self._for(of.item_type)
                return None if item is None else partial(_list, item)
            case inspect.DictType():
                key, value = self._for(of.key_type), self._for(of.value_type)
                return None if key is None and value is None else partial(_dict, key or _same, value or _same)
            case inspect.UnionType():
                return self._for_union(of)
            case _:
                return None

    def _for_struct(self, of: inspect.StructType) -> _Convert | None:
        fields = {field.name: convert for field in of.fields if (convert := self._for(field.type)) is not None}
        if of.cls is Conflict:
            return partial(_conflict, fields)
        return partial(_struct, fields) if fields else None

    def _for_union(self, of: inspect.UnionType) -> _Convert | None:
        """Of structs, and None perhaps; of anything else with texts there is none."""
        members = {
            member.cls: convert
            for member in of.types
            if isinstance(member, inspect.StructType) and (convert := self._for_struct(member)) is not None
        }
        others = [member for member in of.types if not isinstance(member, inspect.StructType)]
        if any(self._for(member) is not None for member in others):
            raise TypeError("a text in a union with other things than structs is not looked for")
        return partial(_one_of, members) if members else None


def _same(value: Any) -> Any:
    return value


def _struct(fields: dict[str, _Convert], value: Any) -> Any:
    return msgspec.structs.replace(value, **{name: convert(getattr(value, name)) for name, convert in fields.items()})


def _conflict(fields: dict[str, _Convert], value: Conflict) -> Any:
    try:
        return _struct(fields, value)
    except BadName as error:
        log.warning("what was kept beside a change has a name that nobody here can read: %s", error)
        return msgspec.structs.replace(value, name=unnamed(value.name))


def _one_of(members: dict[type, _Convert], value: Any) -> Any:
    convert = members.get(type(value))
    return value if convert is None else convert(value)


def _list(item: _Convert, values: list[Any]) -> list[Any]:
    found = []
    for value in values:
        try:
            found.append(item(value))
        except BadName as error:
            if not isinstance(value, _LEFT_OUT):
                raise
            log.warning("%s is left out: %s", type(value).__name__, error)
    return found


def _dict(key: _Convert, item: _Convert, values: dict[Any, Any]) -> dict[Any, Any]:
    """Of a node's extended attributes."""
    found = {}
    for name, value in values.items():
        try:
            found[key(name)] = item(value)
        except BadName as error:
            log.warning("an extended attribute is left out: %s", error)
    return found
