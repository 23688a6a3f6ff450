from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol.ids import BatchId, BlockId, JournalId, NodeId, Seq, SessionId, VersionNumber, origin_of
from protocol.messages.batches import (
    AnyAnswer,
    Applied,
    Batch,
    BatchReply,
    Conflict,
    JournalReply,
    MissingBlocks,
    Refused,
)
from protocol.messages.blocks import BadFrames, SealedBlock, frame_head, unframed
from protocol.messages.changes import (
    AnyChange,
    Commit,
    Create,
    Link,
    OnClash,
    RemoveXattr,
    Rename,
    RenameMode,
    Replaced,
    Resolve,
    Rmdir,
    SetAttributes,
    SetXattr,
    Unlink,
    XattrMode,
)
from protocol.messages.conflicts import Keep
from protocol.messages.nodes import Kind, Node, State, xattr_name_from_wire, xattr_name_to_wire
from protocol.messages.notices import Notice, Notices, Touched, TouchedEntry
from protocol.messages.sessions import Join, JoinReply, PollReply
from protocol.messages.tree import Entry, ListingReply, LookupReply, NodeReply

NODE = NodeId((1 << 62) - 1)
NAME = bytes(range(1, 256)).replace(b"/", b"")
BLOCK = BlockId(bytes(range(32)))
JOURNAL = JournalId(bytes(range(16)))
SESSION = SessionId(bytes(range(16, 32)))

CHANGES: list[AnyChange] = [
    Create(time_ns=-1, parent=NodeId(1), name=NAME, node=NODE, kind=Kind.FILE, mode=0o7777, uid=0, gid=1 << 31),
    Create(
        time_ns=2,
        parent=NodeId(1),
        name=b"l",
        node=NODE,
        kind=Kind.SYMLINK,
        mode=0o777,
        uid=1,
        gid=2,
        rdev=(1 << 63) - 1,
        target=b"\xff\xfe",
        on_clash=OnClash.KEEP_BOTH,
    ),
    Commit(
        time_ns=3,
        node=NODE,
        base=VersionNumber(0),
        size=1 << 50,
        manifest=b"\x01",
        mtime_ns=4,
        blocks=[SealedBlock(BLOCK, b"\x00sealed")],
    ),
    SetAttributes(time_ns=5, node=NODE, mode=0, mtime_ns=-5),
    SetXattr(time_ns=6, node=NODE, name=xattr_name_to_wire(b"user.\xff"), value=b"\0", xattr_mode=XattrMode.CREATE),
    RemoveXattr(time_ns=7, node=NODE, name="user.a"),
    Link(time_ns=8, node=NODE, parent=NodeId(1), name=NAME, on_clash=OnClash.KEEP_BOTH),
    Unlink(time_ns=9, parent=NodeId(1), name=NAME, node=NODE, version=VersionNumber(2), others=1),
    Rmdir(time_ns=10, parent=NodeId(1), name=NAME, node=NODE),
    Rename(
        time_ns=11,
        node=NODE,
        parent=NodeId(1),
        name=NAME,
        new_parent=NODE,
        new_name=b"n",
        rename_mode=RenameMode.EXCHANGE,
        replaced=Replaced(NODE, VersionNumber(2), 1),
    ),
    Resolve(
        time_ns=12,
        parent=NodeId(1),
        name=NAME,
        node=NODE,
        version=VersionNumber(1),
        keep=Keep.MINE,
        original_version=VersionNumber(3),
    ),
]

ROW = Node(
    id=NODE,
    kind=Kind.FILE,
    mode=0o644,
    uid=1,
    gid=2,
    nlink=3,
    mtime_ns=-4,
    ctime_ns=5,
    atime_ns=6,
    size=7,
    data_bytes=7,
    version=VersionNumber(8),
    state=State.PENDING,
    manifest=b"\x01",
    xattrs={xattr_name_to_wire(b"user.\xff"): b"\0\xff"},
    conflict_of=NodeId(9),
)

NOTICES = Notices(
    seq=Seq(3),
    notices=[
        Notice(
            seq=Seq(2),
            what="commit",
            origin=origin_of(SESSION),
            nodes=[Touched(NODE, True), Touched(NodeId(1))],
            entries=[TouchedEntry(NodeId(1), NAME)],
            state=State.UPLOADED,
        )
    ],
    reset=True,
)

ANSWERS: list[AnyAnswer] = [
    Applied(seq=Seq(2), nodes=[ROW], conflict=Conflict(NODE, NodeId(1), NAME)),
    Refused(errno="EEXIST", reason="taken"),
    MissingBlocks(blocks=[BLOCK]),
]


@pytest.fixture(params=[msgspec.msgpack, msgspec.json], ids=["MessagePack", "JSON"])
def codec(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: type(change).__name__)
def test_a_change_arrives_as_it_was_sent(codec: Any, change: AnyChange) -> None:
    batch = Batch(journal=JOURNAL, first=1, changes=[change])
    assert codec.decode(codec.encode(batch), type=Batch) == batch


@pytest.mark.parametrize(
    "message",
    [
        BatchReply(answers=ANSWERS, notices=NOTICES),
        NodeReply(notices=NOTICES, node=ROW),
        ListingReply(notices=NOTICES, generation=2, entries=[Entry(NAME, ROW)], more=True),
        LookupReply(notices=Notices(Seq(1))),
        LookupReply(notices=NOTICES, node=ROW),
        JoinReply(notices=NOTICES, first_number=3, last_number=4, lease_s=9.5),
        PollReply(notices=NOTICES),
        PollReply(notices=NOTICES, lease_s=9.5),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_reply_arrives_as_it_was_sent(codec: Any, message: msgspec.Struct) -> None:
    assert codec.decode(codec.encode(message), type=type(message)) == message


@pytest.mark.parametrize("after", [None, Seq(0), Seq((1 << 63) - 1)])
def test_a_join_arrives_as_it_was_sent(codec: Any, after: Seq | None) -> None:
    join = Join(SESSION, JOURNAL, after)
    assert codec.decode(codec.encode(join), type=Join) == join


def test_every_kind_of_change_is_tried_here() -> None:
    assert {type(change) for change in CHANGES} == set(AnyChange.__args__)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"journal":"AA==","first":1,"changes":[{"change":"unheard of"}]}']
)
def test_what_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(body, type=Batch)


def test_a_field_of_a_later_version_is_passed_over(codec: Any) -> None:
    body = codec.encode({"notices": {"seq": 1, "newer still": 3}, "node": None, "something new": 2})
    assert codec.decode(body, type=LookupReply) == LookupReply(notices=Notices(Seq(1)))


def test_xattr_names_of_any_bytes_come_back() -> None:
    assert xattr_name_from_wire(xattr_name_to_wire(NAME)) == NAME


def test_an_xattr_name_that_stands_for_no_bytes_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        xattr_name_from_wire("user.\u20ac")


def test_the_json_form_is_frozen() -> None:
    batch = Batch(journal=JOURNAL, first=5, changes=[CHANGES[2]])
    assert msgspec.json.encode(batch) == (
        b'{"journal":"AAECAwQFBgcICQoLDA0ODw==","first":5,"changes":[{"change":"commit","time_ns":3,'
        b'"node":4611686018427387903,"base":0,"size":1125899906842624,"manifest":"AQ==","mtime_ns":4,'
        b'"blocks":[["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","AHNlYWxlZA=="]]}]}'
    )


def test_the_json_form_of_a_session_is_frozen() -> None:
    assert msgspec.json.encode(Join(SESSION, JOURNAL, Seq(4))) == (
        b'{"session":"EBESExQVFhcYGRobHB0eHw==","journal":"AAECAwQFBgcICQoLDA0ODw==","after":4}'
    )
    assert msgspec.json.encode(Join(SESSION, JOURNAL)) == (
        b'{"session":"EBESExQVFhcYGRobHB0eHw==","journal":"AAECAwQFBgcICQoLDA0ODw=="}'
    )
    assert msgspec.json.encode(JoinReply(Notices(Seq(4)), 1, 0, 9.5)) == (
        b'{"notices":{"seq":4},"first_number":1,"last_number":0,"lease_s":9.5}'
    )
    assert msgspec.json.encode(PollReply(Notices(Seq(4), reset=True))) == b'{"notices":{"seq":4,"reset":true}}'


def test_blocks_come_out_of_their_frames_in_order() -> None:
    other = BlockId(bytes(32))
    run = frame_head(BLOCK, 6) + b"sealed" + frame_head(other, 0)
    assert list(unframed(run)) == [(BLOCK, b"sealed"), (other, b"")]


@pytest.mark.parametrize("missing", [1, 6, 7, 20])
def test_a_run_of_frames_that_is_cut_is_refused(missing: int) -> None:
    run = frame_head(BLOCK, 6) + b"sealed"
    with pytest.raises(BadFrames):
        list(unframed(run[:-missing]))


@pytest.mark.parametrize(
    ("last", "first", "expected"),
    [
        (("mine", 4, 6), 7, 7),
        (("mine", 4, 6), 4, 4),
        (("unknown", 4, 6), 4, 4),
        (("other", 4, 6), 7, 7),
        (("other", 4, 6), 4, 7),
        (("mine", 4, 6), 9, 7),
    ],
    ids=[
        "not applied",
        "applied",
        "perhaps applied",
        "behind another's",
        "instead of another's",
        "in a backup's future",
    ],
)
def test_a_batch_that_may_have_been_sent_goes_under_numbers_that_are_its_own(
    last: tuple[str, int, int], first: int, expected: int
) -> None:
    ids = {"mine": BatchId(b"mine"), "other": BatchId(b"other"), "unknown": BatchId(b"")}
    name, first_number, last_number = last
    assert JournalReply(first_number, last_number, ids[name]).number_for(ids["mine"], first) == expected
