from __future__ import annotations

import logging
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import msgspec
import pytest
from msgspec import inspect
from msgspec.structs import replace

from backend.codec import PlainCodec, SealedCodec
from backend.errors import Unusable
from protocol import messages
from protocol.ids import NodeId, Seq, VersionNumber
from protocol.keys import derive_end_to_end
from protocol.messages.batches import Applied, Batch, BatchReply, Conflict, JournalReply
from protocol.messages.blocks import BlockList
from protocol.messages.changes import (
    Create,
)
from protocol.messages.conflicts import ConflictCopy, ConflictsReply, Original
from protocol.messages.nodes import Kind, xattr_name_to_wire
from protocol.messages.notices import Notice, Notices, TouchedEntry
from protocol.messages.sessions import Join, JoinReply, PollReply
from protocol.messages.texts import SEALED_AS
from protocol.messages.tree import Entry, ListingReply, LookupReply, ManifestReply, NodeReply
from protocol.messages.wire import Message
from protocol.sealednames import NameSealer, unnamed
from tests.protocol.test_messages import ANSWERS, CHANGES, JOURNAL, NAME, NODE, NOTICES, ROW

SEALER = NameSealer(derive_end_to_end(bytes(range(32))).names_key)
STRANGER = NameSealer(derive_end_to_end(bytes(32)).names_key)
CODEC = SealedCodec(SEALER)
PLAIN_NAME = NAME[:200]

ASKED = (Batch, Join, BlockList)
ANSWERED = (
    BatchReply,
    JournalReply,
    NodeReply,
    LookupReply,
    ListingReply,
    ConflictsReply,
    ManifestReply,
    JoinReply,
    PollReply,
)
"""All that a mount and its workspace's server say to each other, but for sealed blocks and usage."""

NO_TEXTS = {
    "Batch.journal",
    "Batch.session",
    "Batch.id",
    "Join.session",
    "Join.journal",
    "JournalReply.batch",
    "BlockList.blocks",
    "MissingBlocks.blocks",
    "SealedBlock.id",
    "SealedBlock.sealed",
    "Commit.manifest",
    "ManifestReply.manifest",
    "Node.manifest",
    "Notice.what",
    "Notice.origin",
    "Refused.errno",
    "Refused.reason",
    "ConflictCopy.device",
}
"""Bytes and strings that nobody writes into a tree. Whoever adds a field of this kind decides here, or in ``texts``."""


def untold(of: inspect.Type, at: str) -> Iterator[str]:
    """The fields of bytes or text below a type that aren't declared as texts."""
    match of:
        case inspect.Metadata() if of.extra is not None and SEALED_AS in of.extra:
            return
        case inspect.Metadata():
            yield from untold(of.type, at)
        case inspect.StructType():
            for field in of.fields:
                yield from untold(field.type, f"{of.cls.__name__}.{field.name}")
        case inspect.ListType():
            yield from untold(of.item_type, at)
        case inspect.DictType():
            yield from untold(of.key_type, at)
            yield from untold(of.value_type, at)
        case inspect.UnionType():
            for member in of.types:
                yield from untold(member, at)
        case inspect.BytesType() | inspect.StrType():
            yield at
        case inspect.IntType() | inspect.FloatType() | inspect.BoolType() | inspect.NoneType() | inspect.EnumType():
            return
        case _:
            raise TypeError(f"{at} has a type that this test does not know: {of}")


def test_every_text_of_every_message_is_declared_or_named_here() -> None:
    found = {at for kind in (*ASKED, *ANSWERED) for at in untold(inspect.type_info(kind), "")}
    assert found == NO_TEXTS


def test_every_text_that_is_declared_anywhere_is_in_a_message_of_a_mount() -> None:
    """What is said without a mount has paths, which its clients seal themselves."""

    def declares(kind: type[Message]) -> bool:
        info = inspect.type_info(kind)
        assert isinstance(info, inspect.StructType)
        return any(f"{SEALED_AS}" in repr(field.type) for field in info.fields)

    def parts(of: inspect.Type) -> Iterator[type]:
        match of:
            case inspect.StructType():
                yield of.cls
                for field in of.fields:
                    yield from parts(field.type)
            case inspect.ListType():
                yield from parts(of.item_type)
            case inspect.UnionType():
                for member in of.types:
                    yield from parts(member)

    reached = {part for kind in (*ASKED, *ANSWERED) for part in parts(inspect.type_info(kind))}
    kinds = {
        kind
        for module in pkgutil.iter_modules(messages.__path__, "protocol.messages.")
        for kind in vars(import_module(module.name)).values()
        if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
    }
    assert {kind for kind in kinds if declares(kind)} <= reached


def shortened(message: Any) -> Any:
    """With names that are names: the samples' is too long for one that is sealed."""
    return msgspec.msgpack.decode(
        msgspec.msgpack.encode(message).replace(b"\xc4\xfe" + NAME, b"\xc4\xc8" + PLAIN_NAME), type=type(message)
    )


COPY = ConflictCopy(
    node=NODE,
    parent=NodeId(1),
    path=[b"a folder", PLAIN_NAME],
    kind=Kind.FILE,
    version=VersionNumber(1),
    size=2,
    mtime_ns=3,
    original=Original(NODE, VersionNumber(2), [b"a folder", b"what was first"]),
)
LINK = replace(ROW, kind=Kind.SYMLINK, target=b"a/target", manifest=None)
MESSAGES = [
    *(Batch(JOURNAL, 1, [shortened(change)]) for change in CHANGES),
    shortened(BatchReply(ANSWERS, NOTICES)),
    NodeReply(NOTICES, LINK),
    LookupReply(NOTICES),
    LookupReply(NOTICES, LINK),
    ListingReply(NOTICES, 1, [Entry(PLAIN_NAME, LINK), Entry(b"b", ROW)], more=True),
    ConflictsReply(NOTICES, [COPY]),
    JoinReply(NOTICES, 1, 2, 3.0),
    PollReply(NOTICES),
]
MESSAGES = [shortened(message) for message in MESSAGES]
SECRETS = (PLAIN_NAME, b"a folder", b"what was first", b"a/target", b"user.", b"\0\xff")


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_what_is_sealed_opens(message: Message) -> None:
    assert CODEC.incoming(CODEC.outgoing(message)) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_sealed_message_has_no_plain_text(message: Message) -> None:
    plain, sealed = msgspec.msgpack.encode(message), msgspec.msgpack.encode(CODEC.outgoing(message))
    for secret in SECRETS:
        assert secret not in sealed or plain.count(secret) == 0


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_plain_workspace_s_messages_stay_as_they_are(message: Message) -> None:
    codec = PlainCodec()
    assert codec.outgoing(message) is message
    assert codec.incoming(message) is message
    assert codec.name(b"name") == b"name"


def test_a_name_in_a_request_s_path_is_sealed_as_in_a_message() -> None:
    assert CODEC.name(b"name") == SEALER.seal_name(b"name")


def test_what_has_no_target_gets_none() -> None:
    create = Create(1, NodeId(1), b"f", NODE, Kind.FILE, 0o644, 0, 0)
    [sent] = CODEC.outgoing(Batch(JOURNAL, 1, [create])).changes
    assert isinstance(sent, Create)
    assert sent.target == b""


# ── what does not open ──


def test_entries_that_do_not_open_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    names = [SEALER.seal_name(b"mine"), STRANGER.seal_name(b"theirs"), b"plain"]
    touched = Notices(Seq(1), [Notice(Seq(1), "create", entries=[TouchedEntry(NodeId(1), name) for name in names])])
    row = CODEC.outgoing(NodeReply(Notices(Seq(1)), ROW)).node
    with caplog.at_level(logging.WARNING):
        reply = CODEC.incoming(ListingReply(touched, 1, [Entry(name, row) for name in names]))
    assert reply.entries == [Entry(b"mine", ROW)]
    assert reply.notices.notices[0].entries == [TouchedEntry(NodeId(1), b"mine")]
    assert len(caplog.records) == 4


def test_a_conflict_copy_whose_path_does_not_open_is_left_out() -> None:
    sealed = CODEC.outgoing(ConflictsReply(Notices(Seq(1)), [COPY, COPY]))
    foreign = replace(sealed.conflicts[0], path=[STRANGER.seal_name(b"a folder"), *sealed.conflicts[0].path[1:]])
    assert CODEC.incoming(replace(sealed, conflicts=[foreign, sealed.conflicts[1]])).conflicts == [COPY]


def test_attributes_and_targets_that_do_not_open_are_left_out() -> None:
    good = xattr_name_to_wire(SEALER.seal_xattr_name(b"user.a")), SEALER.seal_xattr_value(b"1")
    bad_value = xattr_name_to_wire(SEALER.seal_xattr_name(b"user.b")), STRANGER.seal_xattr_value(b"2")
    xattrs = dict([good, bad_value, ("user.plain", good[1]), ("\u20ac", good[1])])
    row = replace(LINK, xattrs=xattrs, target=STRANGER.seal_target(b"a/target"))
    opened = CODEC.incoming(NodeReply(Notices(Seq(1)), row)).node
    assert opened == replace(LINK, xattrs={"user.a": b"1"}, target=b"")


def test_a_name_that_does_not_open_and_that_an_answer_tells_is_one_that_means_nothing() -> None:
    """Members without the passphrase can move things, too: that must not keep anybody's changes from being answered."""
    theirs = STRANGER.seal_name(b"theirs")
    applied = Applied(Seq(1), conflict=Conflict(NODE, NodeId(1), theirs))
    assert CODEC.incoming(BatchReply([applied], Notices(Seq(1)))).answers == [
        replace(applied, conflict=Conflict(NODE, NodeId(1), unnamed(theirs)))
    ]


def test_a_page_of_nothing_that_opens_is_of_no_use_where_more_would_follow() -> None:
    page = ListingReply(Notices(Seq(1)), 1, [Entry(b"plain", ROW)], more=True)
    with pytest.raises(Unusable, match="no name of a whole page"):
        CODEC.incoming(page)
    assert CODEC.incoming(replace(page, more=False)).entries == []
