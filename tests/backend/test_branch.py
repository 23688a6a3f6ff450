"""Changes applied to cached rows: the server's rules on what is known, and "unreachable" for what is not."""

from __future__ import annotations

import contextlib
from random import Random

import msgspec
import pytest

from backend.branch import Branch
from backend.errors import Deferred, DriveError, Offline, Refused
from backend.tree import ABSENT, Snapshot, Tree
from protocol import manifest as manifests
from protocol.ids import ROOT_NODE, NodeId, Seq, VersionNumber
from protocol.manifest import EMPTY
from protocol.messages.batches import Applied
from protocol.messages.batches import Refused as RefusedAnswer
from protocol.messages.changes import (
    AnyChange,
    Commit,
    Create,
    Link,
    RemoveXattr,
    Rename,
    RenameMode,
    Replaced,
    Rmdir,
    SetAttributes,
    SetXattr,
    Unlink,
    XattrMode,
)
from protocol.messages.nodes import Kind, Node
from protocol.messages.tree import Entry
from server.metadata import tree as server_tree
from tests.server.metadata.world import SPACE, World

FOLDER, FULL, FILE, OTHER, UNLISTED = NodeId(10), NodeId(11), NodeId(12), NodeId(13), NodeId(14)
NEW = NodeId(99)
UNKNOWN = NodeId(1000)


def row(node: NodeId, kind: Kind = Kind.FILE, version: int = 0, nlink: int = 1) -> Node:
    return Node(node, kind, 0o644, 0, 0, nlink, 1, 1, 1, version=VersionNumber(version))


@pytest.fixture
def tree() -> Tree:
    """``folder`` is empty, ``full`` holds ``deep``; of ``unlisted`` nothing but its row is known."""
    made = Tree(Seq(5))
    entries = [
        (b"file", row(FILE, version=3)),
        (b"folder", row(FOLDER, Kind.FOLDER, nlink=2)),
        (b"full", row(FULL, Kind.FOLDER, nlink=2)),
        (b"other", row(OTHER, version=1)),
        (b"unlisted", row(UNLISTED, Kind.FOLDER, nlink=2)),
    ]
    made.keep_node(row(ROOT_NODE, Kind.FOLDER, nlink=5), Seq(5))
    made.keep_listing(ROOT_NODE, [Entry(name, node) for name, node in entries], Seq(5))
    made.keep_listing(FOLDER, [], Seq(5))
    made.keep_listing(FULL, [Entry(b"deep", row(NodeId(20)))], Seq(5))
    return made


def create(name: bytes, parent: NodeId = ROOT_NODE, kind: Kind = Kind.FILE, node: NodeId = NEW) -> Create:
    return Create(time_ns=9, parent=parent, name=name, node=node, kind=kind, mode=0o600, uid=1, gid=2)


def rename(
    name: bytes,
    node: NodeId,
    new_name: bytes,
    new_parent: NodeId = ROOT_NODE,
    mode: RenameMode = RenameMode.REPLACE,
    parent: NodeId = ROOT_NODE,
) -> Rename:
    return Rename(
        time_ns=9,
        node=node,
        parent=parent,
        name=name,
        new_parent=new_parent,
        new_name=new_name,
        rename_mode=mode,
    )


def commit(node: NodeId, base: int) -> Commit:
    return Commit(
        time_ns=9, node=node, base=VersionNumber(base), size=0, manifest=manifests.encode(EMPTY), mtime_ns=8, blocks=[]
    )


def unlink(name: bytes, node: NodeId, parent: NodeId = ROOT_NODE) -> Unlink:
    return Unlink(time_ns=9, parent=parent, name=name, node=node)


def rmdir(name: bytes, node: NodeId) -> Rmdir:
    return Rmdir(time_ns=9, parent=ROOT_NODE, name=name, node=node)


def link(node: NodeId, name: bytes) -> Link:
    return Link(time_ns=9, node=node, parent=ROOT_NODE, name=name)


def xattr(name: str, mode: XattrMode, value: bytes = b"") -> SetXattr:
    return SetXattr(time_ns=9, node=FILE, name=name, value=value, xattr_mode=mode)


RULES = [
    (create(b"file"), "EEXIST"),
    (create(b"new", FILE), "ENOTDIR"),
    (create(b"a/b"), "EINVAL"),
    (create(b".."), "EINVAL"),
    (create(b"x" * 256), "ENAMETOOLONG"),
    (commit(FOLDER, 0), "EINVAL"),
    (link(FOLDER, b"new"), "EPERM"),
    (link(FILE, b"other"), "EEXIST"),
    (unlink(b"absent", FILE), "ENOENT"),
    (unlink(b"file", OTHER), "ESTALE"),
    (unlink(b"folder", FOLDER), "EISDIR"),
    (rmdir(b"file", FILE), "ENOTDIR"),
    (rmdir(b"full", FULL), "ENOTEMPTY"),
    (rmdir(b"absent", FOLDER), "ENOENT"),
    (rename(b"absent", FILE, b"new"), "ENOENT"),
    (rename(b"file", FILE, b"other", mode=RenameMode.NOREPLACE), "EEXIST"),
    (rename(b"file", FILE, b"folder"), "EISDIR"),
    (rename(b"folder", FOLDER, b"file"), "ENOTDIR"),
    (rename(b"folder", FOLDER, b"full"), "ENOTEMPTY"),
    (rename(b"file", FILE, b"absent", mode=RenameMode.EXCHANGE), "ENOENT"),
    (rename(b"folder", FOLDER, b"new", FOLDER), "EINVAL"),
    (rename(b"file", FILE, b"new", OTHER), "ENOTDIR"),
    (xattr("user.a", XattrMode.REPLACE), "ENODATA"),
    (xattr("", XattrMode.SET), "ERANGE"),
    (xattr("user.a", XattrMode.SET, bytes(70_000)), "ENOSPC"),
    (RemoveXattr(time_ns=9, node=FILE, name="user.a"), "ENODATA"),
]


@pytest.mark.parametrize(("change", "errno"), RULES)
def test_a_change_against_a_rule_is_refused_and_changes_nothing(tree: Tree, change: AnyChange, errno: str) -> None:
    before = _sorted(tree.snapshot())
    with pytest.raises(Refused) as caught:
        Branch(tree).apply(change)
    assert caught.value.name == errno
    assert _sorted(tree.snapshot()) == before


@pytest.mark.parametrize(
    "change",
    [
        create(b"new", UNLISTED),
        create(b"new", UNKNOWN),
        unlink(b"x", FILE, UNLISTED),
        rmdir(b"unlisted", UNLISTED),
        link(UNKNOWN, b"new"),
        rename(b"file", FILE, b"new", UNLISTED),
        rename(b"file", FILE, b"new", UNKNOWN),
        rename(b"folder", FOLDER, b"unlisted"),
        SetAttributes(time_ns=9, node=UNKNOWN, mode=0),
        SetXattr(time_ns=9, node=UNKNOWN, name="user.a", value=b"", xattr_mode=XattrMode.SET),
        RemoveXattr(time_ns=9, node=UNKNOWN, name="user.a"),
    ],
)
def test_what_turns_on_unknown_rows_is_unreachable_and_changes_nothing(tree: Tree, change: AnyChange) -> None:
    before = _sorted(tree.snapshot())
    with pytest.raises(Offline):
        Branch(tree).apply(change)
    assert _sorted(tree.snapshot()) == before


def test_a_name_that_was_outdated_is_unreachable(tree: Tree) -> None:
    tree.drop([], [(ROOT_NODE, b"file")])
    with pytest.raises(Offline):
        Branch(tree).apply(create(b"file"))


def test_content_over_a_version_that_is_not_the_head_is_for_the_server_to_decide(tree: Tree) -> None:
    with pytest.raises(Deferred):
        Branch(tree).apply(commit(FILE, 2))


def test_content_of_a_file_that_its_writer_alone_knows_is_taken(tree: Tree) -> None:
    branch = Branch(tree)
    assert branch.apply(commit(UNKNOWN, 2)) == []
    assert UNKNOWN in branch.nodes
    assert tree.node(UNKNOWN) is None


def test_content_of_a_file_that_could_not_be_made_is_not_taken(tree: Tree) -> None:
    branch = Branch(tree)
    with pytest.raises(Offline):
        branch.apply(create(b"new", UNLISTED))
    with pytest.raises(Offline):
        branch.apply(commit(NEW, 0))
    branch.apply(create(b"new"))
    assert [node.version for node in branch.apply(commit(NEW, 0))] == [1]


def test_a_commit_makes_the_version_after_its_base(tree: Tree) -> None:
    (changed,) = Branch(tree).apply(commit(FILE, 3))
    assert changed.version == 4
    assert tree.node(FILE) == changed


def test_a_create_that_was_applied_before_does_nothing(tree: Tree) -> None:
    """A mount that crashed after it was kept makes it again, whatever its name is by now."""
    branch = Branch(tree)
    branch.apply(create(b"new"))
    branch.apply(rename(b"new", NEW, b"moved"))
    before = _sorted(tree.snapshot())
    assert [node.id for node in branch.apply(create(b"new"))] == [NEW]
    assert _sorted(tree.snapshot()) == before


def test_what_is_undone_has_not_been(tree: Tree) -> None:
    branch = Branch(tree)
    branch.apply(create(b"first"))
    branch.keep()
    before, mark = _sorted(tree.snapshot()), branch.mark()
    branch.apply(create(b"made", kind=Kind.FOLDER, node=NodeId(100)))
    branch.apply(rename(b"first", NEW, b"moved", NodeId(100)))
    branch.apply(rename(b"file", FILE, b"other"))
    branch.apply(unlink(b"other", FILE))
    branch.apply(rmdir(b"folder", FOLDER))
    branch.undo(mark)
    after = _sorted(tree.snapshot())
    assert after.nodes == before.nodes
    for name in (b"first", b"file", b"other", b"folder", b"made"):
        assert tree.lookup(ROOT_NODE, name) == (Tree.lookup(_restored(before), ROOT_NODE, name))


def _sorted(snapshot: Snapshot) -> Snapshot:
    return Snapshot(
        snapshot.applied,
        sorted(snapshot.nodes, key=lambda node: node.id),
        sorted(snapshot.folders, key=lambda folder: folder.folder),
    )


def _restored(snapshot: Snapshot) -> Tree:
    tree = Tree(Seq(0))
    tree.restore(snapshot)
    return tree


# ── beside the server's rules ──

NAMES = [b"a", b"b", b"c", b"d"]


class Pair:
    """One workspace at the server, and a branch on a tree that knows all of it."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = Random(seed)
        self.nodes: list[NodeId] = [ROOT_NODE]
        self.folders: list[NodeId] = [ROOT_NODE]
        self.tree = Tree(Seq(0))
        self.tree.keep_node(world.node(ROOT_NODE), Seq(0))
        self.tree.keep_listing(ROOT_NODE, [], Seq(0))
        self.branch = Branch(self.tree)

    def draw(self) -> AnyChange:
        """Right often enough to build something, and wrong often enough to be refused."""
        pick, now_ns = self.random, self.world.now_ns
        parent, name = pick.choice(self.folders), pick.choice(NAMES)
        meant = self.tree.lookup(parent, name)
        node = meant if isinstance(meant, int) and pick.random() < 0.9 else pick.choice(self.nodes)
        match pick.randrange(10):
            case 0 | 1 | 2:
                kind = pick.choice([Kind.FILE, Kind.FILE, Kind.FOLDER, Kind.SYMLINK])
                made = NodeId(pick.randrange(2, 1 << 40))
                self.nodes.append(made)
                if kind is Kind.FOLDER:
                    self.folders.append(made)
                return msgspec.structs.replace(create(name, parent, kind, made), time_ns=now_ns)
            case 3:
                known = self.tree.node(node)
                return msgspec.structs.replace(commit(node, 0 if known is None else known.version), time_ns=now_ns)
            case 4:
                return Link(time_ns=now_ns, node=pick.choice(self.nodes), parent=parent, name=name)
            case 5:
                return Unlink(time_ns=now_ns, parent=parent, name=name, node=node)
            case 6:
                return Rmdir(time_ns=now_ns, parent=parent, name=name, node=node)
            case 7:
                return SetAttributes(time_ns=now_ns, node=node, mode=pick.choice([None, 0o600, 0o755]))
            case 8:
                mode = pick.choice(list(XattrMode))
                return SetXattr(
                    time_ns=now_ns, node=node, name=pick.choice(["user.a", ""]), value=b"x", xattr_mode=mode
                )
            case _:
                target, new_name = pick.choice(self.folders), pick.choice(NAMES)
                mode = pick.choice(list(RenameMode))
                changed = rename(name, node, new_name, target, mode, parent)
                return msgspec.structs.replace(changed, time_ns=now_ns, replaced=self.seen(target, new_name))

    def seen(self, folder: NodeId, name: bytes) -> Replaced | None:
        meant = self.tree.lookup(folder, name)
        known = self.tree.node(meant) if isinstance(meant, int) else None
        return None if known is None else Replaced(known.id, known.version)

    def here(self, change: AnyChange) -> str:
        try:
            self.branch.apply(change)
        except Refused as error:
            return error.name
        except DriveError as error:
            return type(error).__name__
        return "applied"

    def there(self, change: AnyChange) -> str:
        (answer,) = self.world.laptop.send(change).answers
        assert isinstance(answer, Applied | RefusedAnswer)
        return "applied" if isinstance(answer, Applied) else answer.errno

    def check(self) -> None:
        for node in self.nodes:
            row = server_tree.node(self.world.tx, SPACE, node)
            known = self.tree.node(node)
            assert (row is None) == (known is None)
            if row is not None and known is not None:
                assert msgspec.structs.replace(known, manifest=None) == msgspec.structs.replace(row, manifest=None)
            if row is not None and row.kind is Kind.FOLDER and row.nlink > 0:
                for name in NAMES:
                    meant = self.tree.lookup(node, name)
                    assert (None if meant is ABSENT else meant) == self.world.named(name, node)


@pytest.mark.parametrize("seed", range(8))
def test_random_changes_have_the_same_outcome_here_and_at_the_server(seed: int) -> None:
    """But for content of files that are removed, which the server brings back, or not known, which is taken here."""
    world = World()
    with contextlib.closing(world.connection):
        pair = Pair(world, seed)
        outcomes: set[str] = set()
        for _ in range(300):
            change = pair.draw()
            known = pair.tree.node(change.node)
            if isinstance(change, Commit) and (known is None or known.nlink == 0):
                continue
            there = pair.there(change)
            assert pair.here(change) in unknown_here(there), change
            outcomes.add(there)
            pair.check()
        assert {"applied", "EEXIST", "ENOENT", "ESTALE"} <= outcomes


def unknown_here(outcome: str) -> set[str]:
    """What is said here where the server says that there never was such a node: it could not be asked."""
    return {"ENOENT", "Offline"} if outcome == "ENOENT" else {outcome}


def test_a_row_that_a_reply_told_ahead_of_what_is_applied_gives_way_to_what_is_done_here(tree: Tree) -> None:
    tree.keep_node(row(FILE, version=4), Seq(8))
    branch = Branch(tree)
    (changed,) = branch.apply(commit(FILE, 4))
    assert changed.version == 5
    branch.undo(0)
    assert tree.node(FILE) == row(FILE, version=4)
