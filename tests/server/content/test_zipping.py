from __future__ import annotations

import io
import struct
import zipfile

from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import NodeId, VersionNumber
from protocol.messages.nodes import Kind
from server.content.zipping import Member, Zip, members, safe_name
from server.metadata.subtree import Below

TIME_NS = 1_767_323_045 * 10**9


def entry(node: int, name: bytes, kind: Kind = Kind.FILE, size: int = 0, parent: int = 1) -> Below:
    return Below(NodeId(parent), name, NodeId(node), kind, 0o644, TIME_NS, size, VersionNumber(1))


def test_a_folder_comes_before_what_is_in_it_and_names_are_in_order() -> None:
    entries = [
        entry(2, b"z"),
        entry(4, b"in", parent=3),
        entry(3, b"b", Kind.FOLDER),
        entry(5, b"a"),
        entry(6, b"deep", Kind.FOLDER, parent=3),
        entry(7, b"deepest", parent=6),
    ]
    found = [one.path for one in members(entries, NodeId(1), b"top")]
    assert found == ["top/a", "top/b/", "top/b/deep/", "top/b/deep/deepest", "top/b/in", "top/z"]


def test_more_members_than_16_bits_count() -> None:
    made, out = Zip(), bytearray()
    for node in range(2, 70_002):
        made.begin(Member(f"{node}", entry(node, b"")))
        made.end()
        out += made.take(1 << 16)
    made.close()
    out += made.take()
    with zipfile.ZipFile(io.BytesIO(out)) as found:
        assert len(found.namelist()) == 70_000


def test_a_file_of_5_gib_is_zip64_from_its_head_on() -> None:
    size = 5 << 30
    made = Zip()
    made.begin(Member("long", entry(2, b"", size=size)))
    head = made.take()
    made.end()
    descriptor = made.take()
    made.close()
    end = made.take()
    assert struct.unpack_from("<4sH", head) == (b"PK\3\4", 45)
    assert struct.unpack_from("<LLHH", head, 18) == (0xFFFFFFFF, 0xFFFFFFFF, 4, 20)
    assert struct.unpack("<4sLQQ", descriptor) == (b"PK\7\x08", 0, size, size)
    assert struct.unpack_from("<HHQQ", end, 46 + len("long")) == (1, 16, size, size)


@given(st.lists(st.binary(min_size=1, max_size=20).filter(lambda name: b"/" not in name), unique=True, max_size=8))
def test_any_names_stay_in_their_folder_and_apart(names: list[bytes]) -> None:
    names = [name for name in names if name not in (b".", b"..")]
    made = [safe_name(name, NodeId(number + 2)) for number, name in enumerate(names)]
    assert len(set(made)) == len(made)
    for name in made:
        assert name not in ("", ".", "..")
        assert not set(name) & set("/\\:\0\n\r\ufffd")
        assert name == name.rstrip(". ")
