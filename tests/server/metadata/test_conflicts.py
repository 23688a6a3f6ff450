from __future__ import annotations

import pytest

from protocol.ids import ROOT_NODE
from protocol.marks import conflict_mark, marked
from server.metadata.conflicts import free_numbered_name
from tests.server.metadata.world import NOW_NS, SPACE, World


def conflict_name(name: bytes, device: str, at_ns: int, count: int) -> bytes:
    return marked(name, conflict_mark(device, at_ns, count))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"report.odt", b"report (conflict from desk 2026-01-02 03.04.05).odt"),
        (b"Makefile", b"Makefile (conflict from desk 2026-01-02 03.04.05)"),
        (b".bashrc", b".bashrc (conflict from desk 2026-01-02 03.04.05)"),
        (b"a.tar.gz", b"a.tar (conflict from desk 2026-01-02 03.04.05).gz"),
        (b"\xff\xfe.x", b"\xff\xfe (conflict from desk 2026-01-02 03.04.05).x"),
    ],
)
def test_the_mark_goes_before_the_extension(name: bytes, expected: bytes) -> None:
    assert conflict_name(name, "desk", NOW_NS, 1) == expected


def test_a_counter_tells_copies_of_one_second_apart() -> None:
    assert conflict_name(b"a.b", "desk", NOW_NS, 3) == b"a (conflict from desk 2026-01-02 03.04.05 3).b"


def test_a_device_name_with_a_slash_makes_a_name() -> None:
    assert conflict_name(b"a", "me/desk", NOW_NS, 1) == b"a (conflict from me-desk 2026-01-02 03.04.05)"


@pytest.mark.parametrize("name", [b"n" * 255, b"n" * 251 + b".txt", b"a." + b"e" * 253, "ä".encode() * 127 + b"x"])
@pytest.mark.parametrize("device", ["desk", "d" * 64, "\N{BLUE HEART}" * 64])
def test_long_names_are_cut_on_the_stem_to_255_bytes(name: bytes, device: str) -> None:
    made = conflict_name(name, device, NOW_NS, 12)
    assert len(made) <= 255
    made.decode()  # No character was cut in half.


def test_the_extension_of_a_long_name_stays() -> None:
    assert conflict_name(b"n" * 251 + b".txt", "desk", NOW_NS, 1).endswith(b" 03.04.05).txt")


def test_a_name_that_is_taken_is_numbered(world: World) -> None:
    for name in (b"a.tar.gz", b"a.tar (2).gz"):
        world.laptop.create(name)
    assert free_numbered_name(world.tx, SPACE, ROOT_NODE, b"free") == b"free"
    assert free_numbered_name(world.tx, SPACE, ROOT_NODE, b"a.tar.gz") == b"a.tar (3).gz"


def test_a_long_name_that_is_taken_is_cut_before_its_number(world: World) -> None:
    name = "ä".encode() * 126 + b".x"
    world.laptop.create(name)
    assert free_numbered_name(world.tx, SPACE, ROOT_NODE, name) == "ä".encode() * 124 + b" (2).x"
