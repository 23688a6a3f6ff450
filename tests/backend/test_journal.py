from __future__ import annotations

import os
import threading
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from blake3 import blake3

from backend.compaction import Compaction
from backend.disk import RealDisk
from backend.errors import LocalFailure
from backend.journal import Journal
from backend.records import MAGIC, Flushed, Sending
from backend.threads import InlineThreads
from protocol.ids import BatchId, BlockId, NodeId, Seq, VersionNumber
from protocol.messages.batches import Applied
from protocol.messages.blocks import SealedBlock
from protocol.messages.changes import Commit, Create, SetAttributes
from protocol.messages.nodes import Kind, Node

ROW = Node(
    id=NodeId(1 << 32),
    kind=Kind.FILE,
    mode=0o640,
    uid=1000,
    gid=1001,
    nlink=1,
    mtime_ns=11,
    ctime_ns=12,
    atime_ns=13,
    version=VersionNumber(7),
)
CREATE = Create(
    time_ns=5, parent=NodeId(1), name=b"\xff", node=NodeId(1 << 32), kind=Kind.FILE, mode=0o640, uid=1000, gid=1001
)


def record(content: bytes | None = b"bytes", file: str = "a") -> Flushed:
    return Flushed(
        row=ROW,
        create=CREATE,
        manifest=b"\x01",
        mtime_ns=14,
        size=5,
        base_visible=0,
        segments=[(0, 5)],
        boot="start",
        synced=False,
        file=file,
        content=content,
    )


def live(folder: Path) -> list[tuple[int, Flushed]]:
    with Journal(RealDisk(), folder) as journal:
        return journal.live()


def test_a_record_is_there_after_a_crash(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path) as journal:
        number = journal.begin(record())
        journal.sync()
    assert live(tmp_path) == [(number, record())]


def test_a_record_that_is_done_is_gone(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path) as journal:
        first, second = journal.begin(record(b"1")), journal.begin(record(b"2"))
        journal.end(first)
    assert live(tmp_path) == [(second, record(b"2"))]


def test_a_record_cut_at_any_byte_takes_no_earlier_one_with_it(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path) as journal:
        first = journal.begin(record(b"1"))
        whole = (tmp_path / "log").stat().st_size
        journal.begin(record(b"2"))
    data = (tmp_path / "log").read_bytes()
    for size in range(whole, len(data)):
        (tmp_path / "log").write_bytes(data[:size])
        assert live(tmp_path) == [(first, record(b"1"))]
        assert (tmp_path / "log").stat().st_size == whole


def test_a_record_damaged_in_any_byte_takes_no_earlier_one_with_it(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path) as journal:
        first = journal.begin(record(b"1"))
        whole = (tmp_path / "log").stat().st_size
        journal.begin(record(b"2"))
    data = (tmp_path / "log").read_bytes()
    for place in range(whole, len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x41
        (tmp_path / "log").write_bytes(damaged)
        assert live(tmp_path) == [(first, record(b"1"))]


def test_after_a_torn_tail_new_records_can_be_read(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path) as journal:
        journal.begin(record(b"1"))
    with (tmp_path / "log").open("ab") as log:
        log.write(b"\0\0\0\x10torn")
    with Journal(RealDisk(), tmp_path) as journal:
        journal.begin(record(b"2"))
    assert [flushed.content for _, flushed in live(tmp_path)] == [b"1", b"2"]


def test_the_id_stays(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path) as journal:
        made = journal.id
    with Journal(RealDisk(), tmp_path) as journal:
        assert journal.id == made
    assert len(made) == 16


def test_a_second_mount_is_kept_out(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path), pytest.raises(LocalFailure, match="another mount"):
        Journal(RealDisk(), tmp_path)
    with Journal(RealDisk(), tmp_path):
        pass


def test_a_log_with_nothing_live_is_emptied_once_it_is_long(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path) as journal:
        journal.end(journal.begin(record(bytes(5 << 20))))
        journal.compact()
        assert (tmp_path / "log").read_bytes() == MAGIC
        number = journal.begin(record(b"after"))
    assert live(tmp_path) == [(number, record(b"after"))]


def test_a_log_of_another_format_is_left_alone(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path):
        pass
    (tmp_path / "log").write_bytes(b"SDJ2\0\0\0\0more")
    with pytest.raises(LocalFailure, match="unsent work"):
        Journal(RealDisk(), tmp_path)
    assert (tmp_path / "log").read_bytes() == b"SDJ2\0\0\0\0more"


def test_a_sound_record_of_an_unknown_kind_is_not_dropped(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path):
        pass
    body = msgspec.msgpack.encode({"type": "from the future"})
    (tmp_path / "log").write_bytes(MAGIC + _framed(body))
    with pytest.raises(LocalFailure, match="version"):
        Journal(RealDisk(), tmp_path)
    assert (tmp_path / "log").read_bytes() == MAGIC + _framed(body)


def _framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + blake3(body).digest()[:8] + body


def test_overlays_that_no_record_names_are_removed(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path) as journal:
        journal.begin(record(None, "kept"))
        for name in ("kept", "stray"):
            (journal.overlays / name).write_bytes(b"x")
    with Journal(RealDisk(), tmp_path) as journal:
        assert os.listdir(journal.overlays) == ["kept"]


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LocalFailure, match=str(tmp_path / "file")):
        Journal(RealDisk(), tmp_path / "file")


GOLDEN = bytes.fromhex(
    "53444a310000000000000148f5ae8fb69465870e83a474797065a5626567756ea66e756d62657201a7666c75736865648ca4"
    "74797065a7666c7573686564a3726f77de000aa26964cf0000000100000000a46b696e64a466696c65a46d6f6465cd01a0a3"
    "756964cd03e8a3676964cd03e9a56e6c696e6b01a86d74696d655f6e730ba86374696d655f6e730ca86174696d655f6e730d"
    "a776657273696f6e07a663726561746589a66368616e6765a6637265617465a774696d655f6e7305a6706172656e7401a46e"
    "616d65c401ffa46e6f6465cf0000000100000000a46b696e64a466696c65a46d6f6465cd01a0a3756964cd03e8a3676964cd"
    "03e9a86d616e6966657374c40101a86d74696d655f6e730ea473697a6505ac626173655f76697369626c6500a87365676d65"
    "6e747391920005a4626f6f74a57374617274a673796e636564c2a466696c65a161a7636f6e74656e74c40562797465730000"
    "0142a4e59a418c2320f283a474797065a5626567756ea66e756d62657202a7666c75736865648ca474797065a7666c757368"
    "6564a3726f77de000aa26964cf0000000100000000a46b696e64a466696c65a46d6f6465cd01a0a3756964cd03e8a3676964"
    "cd03e9a56e6c696e6b01a86d74696d655f6e730ba86374696d655f6e730ca86174696d655f6e730da776657273696f6e07a6"
    "63726561746589a66368616e6765a6637265617465a774696d655f6e7305a6706172656e7401a46e616d65c401ffa46e6f64"
    "65cf0000000100000000a46b696e64a466696c65a46d6f6465cd01a0a3756964cd03e8a3676964cd03e9a86d616e69666573"
    "74c40101a86d74696d655f6e730ea473697a6505ac626173655f76697369626c6500a87365676d656e747391920005a4626f"
    "6f74a57374617274a673796e636564c2a466696c65a162a7636f6e74656e74c000000013cc5a30f0ab126a9382a474797065"
    "a4646f6e65a66e756d62657201"
)


def test_the_format_is_frozen(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path) as journal:
        number = journal.begin(record())
        journal.begin(record(None, "b"))
        journal.end(number)
    assert (tmp_path / "log").read_bytes() == GOLDEN


def test_the_frozen_log_can_be_read(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path):
        pass
    (tmp_path / "log").write_bytes(GOLDEN)
    assert live(tmp_path) == [(2, record(None, "b"))]


# ── changes that are kept ──


def kept_change(node: int) -> SetAttributes:
    return SetAttributes(time_ns=1, node=NodeId(node), mode=0o600)


COMMIT = Commit(
    time_ns=1,
    node=NodeId(9),
    base=VersionNumber(3),
    size=5,
    manifest=b"\x01",
    mtime_ns=2,
    blocks=[SealedBlock(BlockId(b"b" * 32), b"sealed")],
)


def test_kept_changes_are_there_in_order(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path) as journal:
        numbers = [journal.keep(kept_change(node)) for node in (3, 1, 2)]
        journal.begin(record())
    with Journal(RealDisk(), tmp_path) as journal:
        assert journal.kept() == [(number, kept_change(node)) for number, node in zip(numbers, (3, 1, 2), strict=True)]
        assert journal.kept(1) == [(numbers[0], kept_change(3))]
        assert journal.kept_count == 3
        assert journal.keep(COMMIT) > numbers[-1]
        assert journal.kept_as(numbers[1:2]) == [kept_change(1)]


def test_a_batch_that_may_have_been_sent_is_there(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path) as journal:
        numbers = [journal.keep(kept_change(node)) for node in (1, 2)]
        assert journal.sending is None
        journal.send(Sending(7, numbers, adopted=True))
    with Journal(RealDisk(), tmp_path) as journal:
        assert journal.sending == Sending(7, numbers, adopted=True)
        journal.send_anew()
        assert journal.sending is None
    with Journal(RealDisk(), tmp_path) as journal:
        assert journal.sending is None
        assert journal.kept_count == 2


def test_what_was_answered_is_known_until_all_is_settled(tmp_path: Path) -> None:
    """Without the blocks, which the server has."""
    with Journal(RealDisk(), tmp_path) as journal:
        number, other = journal.keep(COMMIT), journal.keep(kept_change(1))
        journal.send(Sending(1, [number]))
        journal.answered([number], [Applied(Seq(5))])
    without = msgspec.structs.replace(COMMIT, blocks=[])
    for _ in range(2):
        with Journal(RealDisk(), tmp_path) as journal:
            assert journal.past() == [(without, Applied(Seq(5)))]
            assert journal.kept() == [(other, kept_change(1))]
            assert journal.sending is None
            journal.sync()  # The first of an earlier process's log writes a new one.
    with Journal(RealDisk(), tmp_path) as journal:
        journal.answered([other], [Applied(Seq(6))])
        journal.settle()
    with Journal(RealDisk(), tmp_path) as journal:
        assert (journal.past(), journal.kept()) == ([], [])


def test_a_change_that_was_given_up_is_gone_after_the_next_sync(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path) as journal:
        first, second = journal.keep(kept_change(1)), journal.keep(kept_change(2))
        journal.give_up([second])
        journal.sync()
        assert journal.kept() == [(first, kept_change(1))]
    with Journal(RealDisk(), tmp_path) as journal:
        assert journal.kept() == [(first, kept_change(1))]


def test_a_log_is_not_emptied_while_changes_are_kept(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path, compact_bytes=1) as journal:
        number = journal.keep(kept_change(1))
        journal.end(journal.begin(record()))
    with Journal(RealDisk(), tmp_path) as journal:
        assert journal.kept() == [(number, kept_change(1))]


def test_what_is_obsolete_goes_while_changes_are_kept(tmp_path: Path) -> None:
    """A mount that is apart for long: each file is recorded, kept as a change, and done as a record."""
    with Journal(RealDisk(), tmp_path, compact_bytes=2000) as journal:
        for number in range(200):
            begun = journal.begin(record(b"x" * 1000))
            if number < 5:
                journal.keep(kept_change(number + 1))
            journal.sync()
            journal.end(begun)
        assert (tmp_path / "log").stat().st_size < 8000
    with Journal(RealDisk(), tmp_path) as journal:
        assert [change for _, change in journal.kept()] == [kept_change(number + 1) for number in range(5)]
        assert journal.live() == []


def test_changes_that_were_sent_go_while_others_are_kept(tmp_path: Path) -> None:
    """The server is lost again and again while a long queue is sent."""
    with Journal(RealDisk(), tmp_path, compact_bytes=2000) as journal:
        numbers = [journal.keep(large_commit(node)) for node in range(1, 101)]
        journal.sync()
        for number in numbers[:99]:
            journal.send(Sending(number, [number]))
            journal.sync()
            journal.answered([number], [Applied(Seq(number))])
            journal.sync()
        assert (tmp_path / "log").stat().st_size < 45_000
    with Journal(RealDisk(), tmp_path) as journal:
        assert journal.kept() == [(numbers[-1], large_commit(100))]
        assert [change.node for change, _ in journal.past()] == list(range(1, 100))


async def test_what_is_obsolete_goes_while_a_long_upload_goes_on_and_nothing_is_synced(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    with Journal(RealDisk(), tmp_path, compact_bytes=2000) as journal:
        Compaction(journal, InlineThreads()).watch(nursery)
        upload = journal.begin(record(b"long"))
        for _ in range(200):
            journal.end(journal.begin(record(b"x" * 1000)))
            await trio.testing.wait_all_tasks_blocked()
        assert (tmp_path / "log").stat().st_size < 8000
    assert live(tmp_path) == [(upload, record(b"long"))]


def test_what_is_live_is_not_written_again_and_again(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path, compact_bytes=1) as journal:
        for node in range(1, 200):
            journal.keep(large_commit(node))
            journal.sync()
            if node == 100:
                before = os.stat(tmp_path / "log").st_ino
        assert os.stat(tmp_path / "log").st_ino == before


def test_a_batch_that_may_have_been_sent_is_known_after_what_is_obsolete_went(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path, compact_bytes=1) as journal:
        number = journal.keep(kept_change(1))
        sending = Sending(7, [number], adopted=True, batch=BatchId(b"the only batch !"))
        journal.send(sending)
        for _ in range(9):
            journal.end(journal.begin(record(b"x" * 1000)))
        before = (tmp_path / "log").stat().st_size
        journal.sync()
        assert (tmp_path / "log").stat().st_size < before / 9
    with Journal(RealDisk(), tmp_path) as journal:
        assert journal.sending == sending


def large_commit(node: int) -> Commit:
    return msgspec.structs.replace(COMMIT, node=NodeId(node), blocks=[SealedBlock(BlockId(b"b" * 32), b"x" * 1000)])


def test_records_that_are_appended_while_a_worker_syncs_are_not_lost(tmp_path: Path) -> None:
    """The log is replaced meanwhile, too."""
    with Journal(RealDisk(), tmp_path, compact_bytes=1) as journal:
        stop = threading.Event()

        def sync() -> None:
            while not stop.is_set():
                journal.sync()

        worker = threading.Thread(target=sync)
        worker.start()
        try:
            for number in range(50):
                journal.end(journal.begin(record(b"%d" % number)))
            kept = [journal.keep(kept_change(node)) for node in range(1, 50)]
        finally:
            stop.set()
            worker.join()
    with Journal(RealDisk(), tmp_path) as journal:
        assert [number for number, _ in journal.kept()] == kept


KEPT_GOLDEN = bytes.fromhex(
    "53444a31000000000000008d8e6afcf3db5445d083a474797065a46b657074a66e756d62657201a66368616e676588a66368"
    "616e6765a6636f6d6d6974a774696d655f6e7301a46e6f646509a46261736503a473697a6505a86d616e6966657374c40101"
    "a86d74696d655f6e7302a6626c6f636b739192c4206262626262626262626262626262626262626262626262626262626262"
    "626262c4067365616c65640000003df7cefecbc5e994fb83a474797065a46b657074a66e756d62657202a66368616e676584"
    "a66368616e6765a3736574a774696d655f6e7301a46e6f646501a46d6f6465cd018000000031e7e384b4aa6b59c985a47479"
    "7065a773656e64696e67a5666972737407a76e756d62657273920102a761646f70746564c3a56261746368c400000000400a"
    "b72d7e4011abc983a474797065a8616e737765726564a76e756d626572739101a7616e73776572739183a6616e73776572a7"
    "6170706c696564a373657105a776657273696f6e0400000040a0b16f325fb73fba85a474797065a773656e64696e67a56669"
    "72737409a76e756d626572739102a761646f70746564c2a56261746368c410746865207365636f6e64206261746368"
)


def _write_kept(journal: Journal) -> None:
    first, second = journal.keep(COMMIT), journal.keep(kept_change(1))
    journal.send(Sending(7, [first, second], adopted=True))
    journal.answered([first], [Applied(Seq(5), version=VersionNumber(4))])
    journal.send(Sending(9, [second], batch=BatchId(b"the second batch")))


def test_the_format_of_kept_changes_is_frozen(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path) as journal:
        _write_kept(journal)
    assert (tmp_path / "log").read_bytes() == KEPT_GOLDEN


def test_frozen_kept_changes_can_be_read(tmp_path: Path) -> None:
    with Journal(RealDisk(), tmp_path):
        pass
    (tmp_path / "log").write_bytes(KEPT_GOLDEN)
    with Journal(RealDisk(), tmp_path) as journal:
        assert journal.kept() == [(2, kept_change(1))]
        assert journal.past() == [
            (msgspec.structs.replace(COMMIT, blocks=[]), Applied(Seq(5), version=VersionNumber(4)))
        ]
        assert journal.sending == Sending(9, [2], batch=BatchId(b"the second batch"))
