"""The checker finds what is wrong in small histories, and nothing in right ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulation.checker import Broken, Tree, check, check_order
from tests.simulation.history import (
    ABSENT,
    FOREVER_S,
    OK,
    UNREAD,
    Commit,
    Create,
    Event,
    List,
    Look,
    Mkdir,
    Open,
    Operation,
    Outcome,
    Rename,
    Rmdir,
    Unlink,
    cells,
    label_of,
    size_of,
)


def event(
    what: Operation,
    call_s: float,
    return_s: float,
    result: str = OK,
    machine: str = "desk",
    outcome: Outcome = Outcome.KNOWN,
) -> Event:
    return Event(f"{machine}/1", machine, what, call_s, return_s, result, outcome)


def written(path: str, handle: int, content: str, at_s: float, machine: str = "desk") -> list[Event]:
    """A new file, made from ``at_s`` on and closed 2 s later."""
    return [
        event(Create(path, handle, True), at_s, at_s + 1, machine=machine),
        event(Commit(handle, content), at_s + 1, at_s + 2, machine=machine),
    ]


def changed(path: str, handle: int, before: str, after: str, at_s: float, machine: str = "desk") -> list[Event]:
    """A file that is read from ``at_s`` on, and closed with another content 2 s later."""
    return [
        event(Open(path, handle), at_s, at_s + 1, before, machine),
        event(Commit(handle, after), at_s + 1, at_s + 2, machine=machine),
    ]


def is_right(*history: Event, conflicts: frozenset[str] = frozenset()) -> bool:
    try:
        check_order(history, conflicts)
    except Broken:
        return False
    return True


def test_a_read_after_a_close_must_see_it() -> None:
    base = written("a", 1, "1*1", 0)
    assert is_right(*base, event(Open("a", 0), 3, 4, "1*1", "laptop"))
    assert not is_right(*base, event(Open("a", 0), 3, 4, "", "laptop"))
    assert not is_right(*base, event(Open("a", 0), 3, 4, ABSENT, "laptop"))


def test_a_read_during_a_close_may_see_either() -> None:
    base = written("a", 1, "1*1", 0)
    assert is_right(*base, event(Open("a", 0), 1.5, 1.6, "", "laptop"))
    assert is_right(*base, event(Open("a", 0), 1.5, 1.6, "1*1", "laptop"))


def test_what_one_has_seen_the_next_must_see() -> None:
    base = written("a", 1, "1*1", 0)
    new = event(Open("a", 0), 1.1, 1.2, "1*1", "laptop")
    assert is_right(*base, new, event(Open("a", 0), 1.3, 1.4, "1*1", "phone"))
    assert not is_right(*base, new, event(Open("a", 0), 1.3, 1.4, "", "phone"))


def test_no_read_gives_a_mixture() -> None:
    base = [*written("a", 1, "1*2", 0), *changed("a", 2, "1*2", "2*2", 3)]
    assert not is_right(*base, event(Open("a", 0), 4, 5, "1*1 2*1", "laptop"))


def test_a_size_of_the_attributes_must_be_that_of_the_content() -> None:
    base = written("a", 1, "1*2", 0)
    assert is_right(*base, event(Look("a"), 3, 4, "32"))
    assert not is_right(*base, event(Look("a"), 3, 4, "16"))


def test_one_of_two_exclusive_creates_wins() -> None:
    first = event(Create("a", 1, True), 0, 2)
    assert is_right(first, event(Create("a", 2, True), 1, 3, "EEXIST", "laptop"))
    assert not is_right(first, event(Create("a", 2, True), 1, 3, machine="laptop"))


def test_an_exclusive_create_is_refused_only_where_something_is() -> None:
    assert not is_right(event(Create("a", 1, True), 0, 1, "EEXIST"))


def test_the_second_commit_on_one_version_is_a_conflict_copy() -> None:
    base = written("a", 1, "1*1", 0)
    both = [
        event(Open("a", 2), 3, 4, "1*1"),
        event(Open("a", 3), 3, 4, "1*1", "laptop"),
        event(Commit(2, "1*1 2*1"), 4, 5),
        event(Commit(3, "1*1 3*1"), 5, 6, machine="laptop"),
    ]
    assert is_right(*base, *both, event(Open("a", 0), 7, 8, "1*1 2*1"), conflicts=frozenset({"1*1 3*1"}))
    assert not is_right(*base, *both, event(Open("a", 0), 7, 8, "1*1 3*1"))
    assert not is_right(*base, *both, event(Open("a", 0), 7, 8, "1*1 2*1"))


def test_a_commit_that_must_not_be_lost_is_there_in_the_end() -> None:
    base = written("a", 1, "1*1", 0)
    kept = [
        event(Open("a", 2), 3, 4, "1*1"),
        event(Commit(2, "2*1"), 4, FOREVER_S, outcome=Outcome.KEPT),
    ]
    assert is_right(*base, *kept, event(Open("a", 0), 9, 10, "2*1", "laptop"))
    assert not is_right(*base, *kept, event(Open("a", 0), 9, 10, "1*1", "laptop"), event(Unlink("a"), 11, 12, "ENOENT"))


def test_a_change_without_an_answer_may_have_happened_or_not() -> None:
    base = written("a", 1, "1*1", 0)
    maybe = event(Unlink("a"), 3, FOREVER_S, outcome=Outcome.UNKNOWN)
    assert is_right(*base, maybe, event(Look("a"), 8, 9, "16"))
    assert is_right(*base, maybe, event(Look("a"), 8, 9, ABSENT))
    assert not is_right(*base, maybe, event(Look("a"), 8, 9, ABSENT), event(Look("a"), 10, 11, "16"))
    assert not is_right(*base, event(Look("a"), 2.5, 2.6, ABSENT), maybe)


def test_a_rename_is_one_step() -> None:
    base = written("a", 1, "1*1", 0)
    moved = event(Rename("a", "b"), 3, 6)
    assert is_right(*base, moved, event(List(""), 4, 5, "a/", "laptop"))
    assert is_right(*base, moved, event(List(""), 4, 5, "b/", "laptop"))
    assert not is_right(*base, moved, event(List(""), 4, 5, "", "laptop"))
    assert not is_right(*base, moved, event(List(""), 4, 5, "a/b/", "laptop"))


def test_a_rename_over_a_name_never_shows_it_missing() -> None:
    base = [*written("a", 1, "1*1", 0), *written("b", 2, "2*1", 0)]
    assert not is_right(*base, event(Rename("a", "b"), 3, 6), event(Open("b", 0), 4, 5, ABSENT, "laptop"))


def test_a_commit_goes_to_the_file_and_not_to_the_name() -> None:
    base = [*written("a", 1, "1*1", 0), event(Open("a", 2), 3, 4, "1*1")]
    moved = event(Rename("a", "b"), 5, 6, machine="laptop")
    commit = event(Commit(2, "2*1"), 7, 8)
    assert is_right(*base, moved, commit, event(Open("b", 0), 9, 10, "2*1"))
    assert not is_right(*base, moved, commit, event(Open("a", 0), 9, 10, "2*1"))


def test_a_rename_apart_is_of_what_its_program_made_and_not_of_what_had_the_name() -> None:
    online = written("a", 1, "1*1", 3, "laptop")
    done = (event(Create("a", 2, False), 0, 9), event(Commit(2, "2*1"), 0, 9), event(Rename("a", "b"), 1, 9))
    apart = [replace(one, told_s=1) for one in done]
    absent = event(List(""), 2, 2.5, "", "laptop")
    end = [event(Open("a", 0), 10, 11, "1*1"), event(Open("b", 0), 10, 11, "2*1")]
    assert is_right(*apart, absent, *online, event(Open("b", 0), 6, 7, ABSENT, "laptop"), *end)
    assert not is_right(*online, event(Rename("a", "b"), 6, 7), event(Open("a", 0), 10, 11, "1*1"))


def test_a_file_with_a_conflict_name_comes_to_light_by_what_was_made_of_it_later() -> None:
    online = [*written("a", 1, "1*1", 3, "laptop"), *written("b", 4, "4*1", 5, "laptop")]
    done = (event(Create("a", 2, False), 0, 19), event(Commit(2, "2*1"), 0, 19))
    edit = (event(Commit(3, "3*1"), 2, 19), event(Rename("a", "b"), 3, 19))
    apart = [replace(one, told_s=one.call_s) for one in (*done, *edit)]
    apart += [replace(event(Open("a", 3), 1, 2, "2*1"), excused=True)]
    seen = event(Open("a", 0), 12, 13, "1*1", "laptop")
    end = [event(Open("a", 0), 20, 21, "1*1"), event(Open("b", 0), 20, 21, "3*1")]
    assert is_right(*apart, *online, seen, *end, conflicts=frozenset({"4*1"}))
    older = [event(Open("b", 0), 20, 21, "2*1")]
    assert not is_right(*apart, *online, seen, *older, conflicts=frozenset({"4*1"}))


def test_an_edit_wins_over_a_removal_by_another_device() -> None:
    base = [*written("a", 1, "1*1", 0), event(Open("a", 2), 3, 4, "1*1"), event(Commit(2, "2*1"), 7, 8)]
    by_another, by_itself = event(Unlink("a"), 5, 6, machine="laptop"), event(Unlink("a"), 5, 6)
    assert is_right(*base, by_another, event(Open("a", 0), 9, 10, "2*1"))
    assert not is_right(*base, by_another, event(Open("a", 0), 9, 10, ABSENT))
    assert is_right(*base, by_itself, event(Open("a", 0), 9, 10, ABSENT))


def test_a_file_that_this_device_removed_stays_nobodys_when_another_brings_it_back() -> None:
    base = [*written("a", 1, "1*1", 0), event(Open("a", 2), 3, 4, "1*1"), event(Open("a", 3), 3, 4, "1*1", "laptop")]
    back = [event(Unlink("a"), 5, 6), event(Commit(3, "3*1"), 7, 8, machine="laptop")]
    end = event(Open("a", 0), 11, 12, "3*1")
    assert is_right(*base, *back, event(Commit(2, "2*1"), 9, 10), end)
    later = [event(Open("a", 4), 9, 9.5, "3*1"), event(Commit(4, "4*1"), 9.5, 10)]
    assert not is_right(*base, *back, *later, end)


def test_a_folder_that_has_something_is_not_removed() -> None:
    base = [event(Mkdir("d"), 0, 1), *(written("d/x", 1, "1*1", 2))]
    assert is_right(*base, event(Rmdir("d"), 5, 6, "ENOTEMPTY"))
    assert not is_right(*base, event(Rmdir("d"), 5, 6))


def test_a_blind_write_over_a_version_that_it_could_not_know_is_a_conflict_copy() -> None:
    base = written("a", 1, "1*1", 0)
    blind = [event(Open("a", 2), 3, 4, UNREAD), event(Commit(2, "2*1"), 9, 10)]
    between = changed("a", 3, "1*1", "3*1", 5, "laptop")
    assert not is_right(*base, *blind, *between, event(Open("a", 0), 11, 12, "2*1"))
    assert is_right(*base, *blind, *between, event(Open("a", 0), 11, 12, "3*1"), conflicts=frozenset({"2*1"}))


def test_mounts_that_differ_in_the_end_are_told() -> None:
    with pytest.raises(Broken, match="after healing"):
        check([], [Tree("desk", {"a": "1*1"}), Tree("laptop", {"a": "2*1"})], " (conflict from ")


def test_a_label_tells_where_each_byte_came_from() -> None:
    assert label_of(cells(7, 3) + cells(12, 1)) == "7*3 12*1"
    assert size_of("7*3 12*1") == len(cells(7, 3) + cells(12, 1))
    assert label_of(b"torn") == "?746f726e*1"
    assert label_of(b"") == ""


def test_a_file_whose_folder_its_own_machine_removes_is_kept_in_the_root() -> None:
    base = [event(Mkdir("d"), 0, 1), event(Rmdir("d"), 2, FOREVER_S, outcome=Outcome.UNKNOWN)]
    made = (event(Create("d/y", 1, False), 3, 9), event(Commit(1, "1*1"), 3, 9))
    kept = [replace(one, outcome=Outcome.KEPT) for one in made]
    in_root = [event(List(""), 10, 11, "y/"), event(Open("y", 0), 10, 11, "1*1")]
    assert is_right(*base, *kept, *in_root)
    assert is_right(*base, *kept, event(List(""), 10, 11, "d/"), event(Open("d/y", 0), 10, 11, "1*1"))
    assert not is_right(*base, *made, *in_root)
    assert not is_right(*base, *kept, event(List(""), 10, 11, ""))


def test_an_exclusive_create_brings_its_folder_back_only_from_a_machine_that_was_apart() -> None:
    base = [event(Mkdir("d"), 0, 1), event(Rmdir("d"), 2, 3, machine="laptop")]
    end = event(List("d"), 10, 11, "y/")
    apart = event(Create("d/y", 1, True), 2.5, FOREVER_S, outcome=Outcome.UNKNOWN)
    assert is_right(*base, apart, end)
    assert not is_right(*base, event(Create("d/y", 1, True), 4, 5), end)
