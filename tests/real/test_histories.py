"""What becomes of workers' records, and that what breaks the contract is found in them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.real.histories import Process, Record, Span, check_own, cut, history
from tests.simulation.checker import Broken, Tree, check
from tests.simulation.history import FOREVER_S, OK, Outcome

MARK = " (conflict from "


def record(what: str, path: str, call_s: float, return_s: float, result: str = OK, **about: Any) -> Record:
    return {"what": what, "path": path, "call_s": call_s, "return_s": return_s, "result": result, **about}


def written(path: str, content: str, at_s: float, handle: int) -> list[Record]:
    """A file that is made, and closed after a second."""
    return [
        record("create", path, at_s, at_s + 0.1, handle=handle, exclusive=True, inode=handle),
        record("commit", path, at_s + 0.2, at_s + 1, handle=handle, content=content, inode=handle),
    ]


def desk(*records: Record) -> Process:
    return Process("desk-1", "desk", records)


def laptop(*records: Record) -> Process:
    return Process("laptop-2", "laptop", records)


def judged(*processes: Process, apart: dict[str, list[Span]] | None = None) -> None:
    check(history(processes, apart or {}, {}), [], MARK)


def test_an_open_after_a_close_must_see_it() -> None:
    judged(desk(*written("a", "1*1", 1, 1)), laptop(record("open", "a", 3, 3.1, "1*1", handle=0)))
    with pytest.raises(Broken):
        judged(desk(*written("a", "1*1", 1, 1)), laptop(record("open", "a", 3, 3.1, "absent", handle=0)))


def test_nothing_is_unseen() -> None:
    looks = [record("open", "a", 1.3, 1.4, "1*1", handle=0), record("open", "a", 1.5, 1.6, "", handle=0)]
    judged(desk(*written("a", "1*1", 1, 1)), laptop(*reversed(looks), looks[0]), apart={"laptop": [Span(0, 9)]})
    with pytest.raises(Broken):
        judged(desk(*written("a", "1*1", 1, 1)), laptop(*looks))


def test_bytes_of_two_versions_are_found() -> None:
    again = record("open", "a", 3, 3.1, "1*1", handle=2), record("commit", "a", 3.2, 4, handle=2, content="2*1")
    with pytest.raises(Broken):
        judged(desk(*written("a", "1*1", 1, 1), *again), laptop(record("open", "a", 3, 5, "1*1 2*1", handle=0)))


def test_what_is_being_written_here_may_be_seen_here_alone() -> None:
    look = record("look", "a", 1.3, 1.4, "16", inode=1)
    judged(desk(*written("a", "1*9", 1, 1)), Process("desk-3", "desk", [look]))
    with pytest.raises(Broken):
        judged(desk(*written("a", "1*9", 1, 1)), laptop(look))


def test_a_close_that_was_told_of_trouble_is_kept_and_one_whose_mount_died_may_not_be() -> None:
    for failed, outcome in (("EIO", Outcome.KEPT), ("ENOTCONN", Outcome.UNKNOWN)):
        create, commit = written("a", "1*1", 1, 1)
        events = history([desk(create, {**commit, "failed": failed})], {}, {})
        assert [(event.outcome, event.return_s) for event in events][1] == (outcome, FOREVER_S)


def test_a_change_made_apart_cuts_the_history_where_it_may_be_sent() -> None:
    processes = [desk(*written("a", "1*1", 5, 1)), laptop(record("open", "a", 9, 9.1, "1*1", handle=0))]
    apart = {"desk": [Span(4, 8)]}
    assert cut(processes, apart, {"desk": Span(3, 7)}) == 7
    assert cut(processes, apart, {"laptop": Span(3, 7)}) == 4
    assert cut(processes, {"laptop": [Span(4, 8)]}, {}) == FOREVER_S
    assert history(processes, apart, {"desk": Span(3, 7)}) == []


def test_a_file_that_nobody_touched_is_there_in_the_end() -> None:
    processes = [desk(*written("own-1", "1*1", 1, 1))]
    check_own(processes, [Tree("desk", {"own-1": "1*1"})])
    for shown in ({}, {"own-1": ""}, {"own-1": "1*1 2*1"}):
        with pytest.raises(Broken):
            check_own(processes, [Tree("desk", dict(shown))])


def test_files_of_one_process_are_seen_in_their_order() -> None:
    process = desk(*written("own-1", "1*1", 1, 1), *written("own-2", "2*1", 3, 2))
    tree = Tree("desk", {"own-1": "1*1", "own-2": "2*1"})
    check_own([process, laptop(record("list", "", 9, 9.1, "own-1/"))], [tree])
    with pytest.raises(Broken):
        check_own([process, laptop(record("list", "", 9, 9.1, "own-2/"))], [tree])


def test_such_files_are_no_part_of_the_history() -> None:
    process = desk(*written("own-1", "1*1", 1, 1), record("list", "", 9, 9.1, "a/own-1/"))
    assert [event.result for event in history([process], {}, {})] == ["a/"]
    assert [event.result for event in history([desk(record("list", "e", 9, 9.1, "absent"))], {}, {})] == ["absent"]
