from __future__ import annotations

from protocol.diversions import Diversions
from protocol.ids import NodeId, Seq, VersionNumber
from protocol.messages.batches import Applied, Conflict, Refused
from protocol.messages.changes import (
    AnyChange,
    Commit,
    Create,
    Link,
    OnClash,
    Rename,
    Replaced,
    Rmdir,
    SetAttributes,
    Unlink,
)
from protocol.messages.nodes import Kind

ROOT, FOLDER, OTHER, FILE, COPY = (NodeId(number) for number in (1, 10, 11, 20, 21))


def commit(base: int, node: NodeId = FILE) -> Commit:
    return Commit(0, node, VersionNumber(base), 0, b"\x01", 0)


def create(node: NodeId = FILE, parent: NodeId = ROOT, kind: Kind = Kind.FILE) -> Create:
    return Create(0, parent, b"name", node, kind, 0, 0, 0, on_clash=OnClash.KEEP_BOTH)


def unlink(version: int | None = None, parent: NodeId = ROOT, name: bytes = b"name") -> Unlink:
    return Unlink(0, parent, name, FILE, None if version is None else VersionNumber(version))


def applied(
    conflict: Conflict | None = None, merged: NodeId | None = None, version: int = 0, folder: NodeId | None = None
) -> Applied:
    return Applied(Seq(1), [], conflict, merged, VersionNumber(version), folder)


def test_changes_that_went_as_expected_divert_nothing() -> None:
    diversions = Diversions()
    changes: list[AnyChange] = [create(), commit(0), commit(1), unlink(2)]
    for change, version in zip(changes, (0, 1, 2, 0), strict=True):
        assert diversions.follow(change) == change
        diversions.learn(change, applied(version=version))


def test_refused_changes_divert_nothing() -> None:
    diversions = Diversions()
    diversions.learn(commit(1), Refused("EINVAL", ""))
    assert diversions.follow(commit(2)) == commit(2)


def test_commits_after_a_lost_one_go_to_the_copy() -> None:
    diversions = Diversions()
    diversions.learn(diversions.follow(commit(1)), applied(Conflict(COPY, ROOT, b"copy"), version=1))
    assert diversions.follow(commit(2)) == commit(1, COPY)


def test_a_commit_that_follows_one_without_an_answer_expects_the_next_version_of_the_copy() -> None:
    diversions = Diversions()
    diversions.learn(commit(1), applied(Conflict(COPY, ROOT, b"copy"), version=1))
    assert [diversions.follow(commit(base)) for base in (2, 3)] == [commit(1, COPY), commit(2, COPY)]


def test_a_commit_that_made_no_version_of_its_own_is_followed_to_the_one_that_is_there() -> None:
    diversions = Diversions()
    diversions.learn(commit(1), applied(version=5))
    assert diversions.follow(commit(2)) == commit(5)
    assert diversions.follow(unlink(2)) == unlink(5)


def test_an_unlink_of_lost_content_names_the_copy_and_so_is_refused() -> None:
    diversions = Diversions()
    diversions.learn(commit(1), applied(Conflict(COPY, ROOT, b"copy"), version=1))
    assert diversions.follow(unlink(2)) == Unlink(0, ROOT, b"name", COPY, VersionNumber(1))
    assert diversions.follow(unlink()) == unlink()


def test_a_rename_over_lost_content_has_not_seen_what_is_there() -> None:
    diversions = Diversions()
    diversions.learn(commit(1), applied(Conflict(COPY, ROOT, b"copy"), version=1))
    over = Rename(0, OTHER, ROOT, b"new", ROOT, b"name", replaced=Replaced(FILE, VersionNumber(2)))
    followed = diversions.follow(over)
    assert isinstance(followed, Rename)
    assert followed.replaced == Replaced(COPY, VersionNumber(1))


def test_a_merged_folder_is_the_one_that_is_there_in_every_change() -> None:
    diversions = Diversions()
    diversions.learn(create(FOLDER, kind=Kind.FOLDER), applied(merged=OTHER))
    assert diversions.follow(create(parent=FOLDER)) == create(parent=OTHER)
    assert diversions.follow(Link(0, FILE, FOLDER, b"a")) == Link(0, FILE, OTHER, b"a")
    assert diversions.follow(SetAttributes(0, FOLDER, mode=7)) == SetAttributes(0, OTHER, mode=7)
    assert diversions.follow(unlink(parent=FOLDER)) == unlink(parent=OTHER)
    assert diversions.follow(Rename(0, FOLDER, FOLDER, b"a", FOLDER, b"b")) == Rename(
        0, OTHER, OTHER, b"a", OTHER, b"b"
    )
    assert diversions.follow(Rmdir(0, FOLDER, b"a", FOLDER)) == Rmdir(0, OTHER, b"a", OTHER)


def test_a_name_that_was_taken_is_the_conflict_name_until_a_rename() -> None:
    diversions = Diversions()
    diversions.learn(create(), applied(Conflict(FILE, ROOT, b"mark")))
    assert diversions.follow(unlink(0)) == unlink(0, name=b"mark")
    away, back = Rename(0, FILE, ROOT, b"name", ROOT, b"x"), Rename(0, FILE, ROOT, b"x", ROOT, b"name")
    assert diversions.follow(away) == Rename(0, FILE, ROOT, b"mark", ROOT, b"x")
    assert diversions.follow(back) == back
    assert diversions.follow(unlink(0)) == unlink(0)


def test_a_file_that_went_to_another_folder_takes_what_follows_there() -> None:
    diversions = Diversions()
    diversions.learn(create(parent=FOLDER), applied(Conflict(FILE, OTHER, b"name"), folder=OTHER))
    assert diversions.follow(create(COPY, parent=FOLDER)) == create(COPY, parent=OTHER)
    move = Rename(0, FILE, FOLDER, b"name", FOLDER, b"x")
    assert diversions.follow(move) == Rename(0, FILE, OTHER, b"name", OTHER, b"x")


def test_a_file_that_somebody_moved_since_takes_nothing_along() -> None:
    diversions = Diversions()
    diversions.learn(create(parent=FOLDER), applied(Conflict(FILE, OTHER, b"moved")))
    assert diversions.follow(create(COPY, parent=FOLDER)) == create(COPY, parent=FOLDER)
    move = Rename(0, FILE, FOLDER, b"name", FOLDER, b"x")
    assert diversions.follow(move) == Rename(0, FILE, OTHER, b"moved", FOLDER, b"x")


def test_a_file_that_came_back_elsewhere_is_renamed_from_there_and_not_removed() -> None:
    diversions = Diversions()
    diversions.learn(commit(1), applied(Conflict(FILE, OTHER, b"mark"), version=2))
    assert diversions.follow(commit(2)) == commit(2)
    assert diversions.follow(unlink(2)) == unlink(2)
    move = Rename(0, FILE, ROOT, b"name", ROOT, b"x")
    assert diversions.follow(move) == Rename(0, FILE, OTHER, b"mark", ROOT, b"x")
