from __future__ import annotations

import pytest

from protocol.ids import ROOT_NODE, NodeId
from protocol.limits import XATTRS_MAX_BYTES
from protocol.messages.changes import RemoveXattr, SetAttributes, SetXattr, XattrMode
from protocol.messages.notices import Touched
from server.metadata import feed
from tests.server.metadata.world import NOW_NS, SPACE, World, unlink

LATER_NS = NOW_NS + 1


def test_only_what_is_given_is_set(world: World) -> None:
    node = world.laptop.create(b"a")
    world.laptop.do(SetAttributes(LATER_NS, node, mode=0o4711, mtime_ns=-5))
    row = world.node(node)
    assert (row.mode, row.uid, row.mtime_ns, row.atime_ns, row.ctime_ns) == (0o4711, 1000, -5, NOW_NS, LATER_NS)


def test_setting_attributes_outdates_that_node_alone(world: World) -> None:
    world.laptop.do(SetAttributes(LATER_NS, ROOT_NODE, uid=5, gid=6, atime_ns=7))
    [notice] = feed.notices(world.tx, SPACE, world.laptop.seen).notices
    assert (notice.nodes, notice.entries) == ([Touched(ROOT_NODE)], [])


def test_setting_nothing_is_no_change(world: World) -> None:
    world.laptop.do(SetAttributes(LATER_NS, ROOT_NODE))
    assert world.head() == 0


def test_an_unlinked_file_still_has_attributes_to_set(world: World) -> None:
    node = world.laptop.create(b"a")
    world.laptop.do(unlink(b"a", node))
    world.laptop.do(SetAttributes(LATER_NS, node, mode=0o600))
    assert world.node(node).mode == 0o600


@pytest.mark.parametrize(
    ("change", "errno"),
    [
        (SetAttributes(1, NodeId(9), mode=1), "ENOENT"),
        (SetAttributes(1, ROOT_NODE, mode=0o10000), "EINVAL"),
        (SetAttributes(1, ROOT_NODE, mtime_ns=1 << 63), "EINVAL"),
        (SetAttributes(1 << 64, ROOT_NODE, mode=1), "EINVAL"),
        (SetXattr(1, NodeId(9), "user.a", b""), "ENOENT"),
        (SetXattr(1, ROOT_NODE, "", b""), "ERANGE"),
        (SetXattr(1, ROOT_NODE, "n" * 256, b""), "ERANGE"),
        (SetXattr(1, ROOT_NODE, "user.\N{BLUE HEART}", b""), "EINVAL"),
        (SetXattr(1, ROOT_NODE, "user.\0", b""), "EINVAL"),
        (SetXattr(1, ROOT_NODE, "user.a", b"v" * XATTRS_MAX_BYTES), "ENOSPC"),
        (SetXattr(1, ROOT_NODE, "user.a", b"", XattrMode.REPLACE), "ENODATA"),
        (RemoveXattr(1, ROOT_NODE, "user.a"), "ENODATA"),
        (RemoveXattr(1, NodeId(9), "user.a"), "ENOENT"),
    ],
)
def test_bad_changes_are_refused(world: World, change: SetAttributes | SetXattr | RemoveXattr, errno: str) -> None:
    assert world.laptop.refused(change) == errno
    assert world.head() == 0


def test_extended_attributes_are_set_replaced_and_removed(world: World) -> None:
    world.laptop.do(SetXattr(1, ROOT_NODE, "user.\xff", b"\0\xff", XattrMode.CREATE))
    assert world.laptop.refused(SetXattr(1, ROOT_NODE, "user.\xff", b"x", XattrMode.CREATE)) == "EEXIST"
    world.laptop.do(SetXattr(1, ROOT_NODE, "user.b", b""))
    world.laptop.do(SetXattr(1, ROOT_NODE, "user.\xff", b"new", XattrMode.REPLACE))
    assert world.node(ROOT_NODE).xattrs == {"user.\xff": b"new", "user.b": b""}
    world.laptop.do(RemoveXattr(1, ROOT_NODE, "user.b"))
    world.laptop.do(RemoveXattr(1, ROOT_NODE, "user.\xff"))
    assert world.node(ROOT_NODE).xattrs == {}


def test_the_bound_of_extended_attributes_is_on_all_of_a_node_together(world: World) -> None:
    half = b"v" * (XATTRS_MAX_BYTES // 2)
    world.laptop.do(SetXattr(1, ROOT_NODE, "user.a", half))
    assert world.laptop.refused(SetXattr(1, ROOT_NODE, "user.b", half)) == "ENOSPC"
    world.laptop.do(SetXattr(1, ROOT_NODE, "user.a", half))
