"""From what workers wrote down to events for the checker. Pure.

What an operation saw of its own machine that others may not see yet is *excused* (rule C7): a file that is being
written there, and names of which no answer has come. What was answered while a mount worked apart from its server
("offline") is no part of the order in which all mounts see things. The times that a mount was apart may be too long and
never too short:

- what a mount is asked while it is apart is left out;
- what is changed on it then takes effect when the server can be reached again, at the earliest. From then on the
  order in which others see that isn't looked into: the history is *cut* there. That these changes arrive whole, and in
  order, is checked by files that nobody but their maker touches (``check_own``), which are no part of the history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tests.real.worker import OWN_MARK
from tests.simulation.checker import Broken, Tree
from tests.simulation.history import (
    ABSENT,
    FOREVER_S,
    OK,
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
)

Record = Mapping[str, Any]
"""One line of a worker's."""

GONE: Final = ("ENOTCONN", "ECONNABORTED")
QUESTIONS: Final = ("look", "list")
CHANGES_OF_NAMES: Final = ("mkdir", "rmdir", "unlink", "rename")
CLOCK_SLACK_S: Final = 0.2
"""Between the clock of the logs and that of the workers, generously."""


class Span(NamedTuple):
    """A time that a mount was apart, or a bit more."""

    begin_s: float
    end_s: float


class Process(NamedTuple):
    """One worker's records."""

    name: str
    machine: str
    records: Sequence[Record]


@dataclass(slots=True)
class _Own:
    """A change of a machine's own that others may not see yet."""

    path: str
    inode: int
    call_s: float
    return_s: float
    died_s: float = FOREVER_S
    """When the mount died under it: what it committed then may still come, and be in the way of later versions."""

    def may_show(self, record: Record) -> bool:
        """Whether an operation at that time, of this path, may have shown it."""
        if self.return_s < record["call_s"] or self.call_s > record.get("until", record["return_s"]):
            return False
        if self.inode == record.get("inode", -1):
            return True
        asked = [record["path"], *([record["new_path"]] if "new_path" in record else [])]
        return any(self.path == path or self.path.startswith(f"{path}/" if path else "") for path in asked)


def history(
    processes: Sequence[Process], apart: Mapping[str, Sequence[Span]], cut_off: Mapping[str, Span]
) -> list[Event]:
    """Events for the checker.

    By machine: ``apart``, the times that its mount was apart; ``cut_off``, a time that it surely could not reach the
    server, a bit too short rather than too long.
    """
    cut_s = cut(processes, apart, cut_off)
    events: list[Event] = []
    for machine in {process.machine for process in processes}:
        here = [process for process in processes if process.machine == machine]
        own = [change for process in here for change in _own_changes(process)]
        for process in here:
            events += _events(process, own, apart.get(machine, ()), cut_s)
    return events


def cut(processes: Sequence[Process], apart: Mapping[str, Sequence[Span]], cut_off: Mapping[str, Span]) -> float:
    """When something that was changed apart may take effect for the first time."""
    first_s = FOREVER_S
    for process in processes:
        fault = cut_off.get(process.machine, Span(0, 0))
        for span in apart.get(process.machine, ()):
            if any(_overlaps(record, span) for record in process.records if _changes(record)):
                begins_in_it = fault.begin_s <= span.begin_s <= fault.end_s
                first_s = min(first_s, fault.end_s if begins_in_it else span.begin_s)
    return first_s


def _changes(record: Record) -> bool:
    """Whether it may have changed something."""
    if record["what"] in QUESTIONS or record["what"] == "open":
        return False
    return bool(record.get("result", OK) == OK)


def _overlaps(record: Record, span: Span) -> bool:
    return bool(record["call_s"] <= span.end_s and record["return_s"] >= span.begin_s)


def _own_changes(process: Process) -> Iterable[_Own]:
    commits = {record["handle"]: record for record in process.records if record["what"] == "commit"}
    for record in process.records:
        if record["what"] not in ("open", "create") or not record.get("handle"):
            continue
        if record.get("result", OK) in (ABSENT, "EEXIST") or (record["what"] == "open" and "failed" in record):
            return_s, died_s = record["return_s"], FOREVER_S
        else:
            last = commits.get(record["handle"], record)
            return_s = last["return_s"] if last["what"] == "commit" and "failed" not in last else FOREVER_S
            died_s = last["return_s"] if last.get("failed") in GONE else FOREVER_S
        yield _Own(record["path"], record.get("inode", -2), record["call_s"], return_s, died_s)


def _events(process: Process, own: Sequence[_Own], spans: Sequence[Span], cut_s: float) -> Iterable[Event]:
    commits = {record["handle"]: record for record in process.records if record["what"] == "commit"}
    bound: set[int] = set()
    """Handles whose open or create is among the events."""
    for record in process.records:
        what, call_s = record["what"], record["call_s"]
        # Nobody waits for the server at a create without O_EXCL, but at its close.
        is_waiting = what == "create" and not record["exclusive"] and record.get("result") == OK
        until = commits.get(record["handle"]) if is_waiting else record
        return_s, outcome = (FOREVER_S, Outcome.UNKNOWN) if until is None else _end(until)
        over = {**record, "return_s": record["return_s"] if until is None else until["return_s"]}
        span = next((span for span in spans if _overlaps(over, span)), None)
        if call_s > cut_s or (span is not None and call_s > span.begin_s + 2 * CLOCK_SLACK_S):
            continue
        handle = record.get("handle", 0)
        is_open = what == "open"
        if outcome is not Outcome.KNOWN and (what in QUESTIONS or is_open):
            continue
        if (what == "commit" and handle not in bound) or record["path"].startswith(OWN_MARK):
            continue
        if span is not None or return_s > cut_s:
            if what in QUESTIONS or (is_open and not handle):
                continue
            if not is_open:
                if record.get("result", OK) != OK:
                    continue
                return_s, outcome = FOREVER_S, Outcome.UNKNOWN
        if cut_s < FOREVER_S and outcome is Outcome.KEPT:
            outcome = Outcome.UNKNOWN
        if handle:
            bound.add(handle)
        # What is being written under this handle is no excuse for its own open.
        excused = span is not None or any(one.may_show(record) for one in own if not (handle and one.call_s == call_s))
        if excused and what in CHANGES_OF_NAMES and record.get("result", OK) != OK:
            continue
        if what == "commit":
            excused = any(one.died_s < call_s for one in own)
        yield Event(
            process.name,
            process.machine,
            _operation(record),
            call_s,
            return_s,
            without_own(record["result"]) if what == "list" else record.get("result", OK),
            outcome,
            excused,
        )


def _end(record: Record) -> tuple[float, Outcome]:
    """When it had taken effect, and whether it did."""
    if "failed" not in record:
        return record["return_s"], Outcome.KNOWN
    if record["what"] == "commit" and record["failed"] not in GONE:
        return FOREVER_S, Outcome.KEPT
    return FOREVER_S, Outcome.UNKNOWN


def _operation(record: Record) -> Operation:
    path = record["path"]
    makers: dict[str, Callable[[], Operation]] = {
        "look": lambda: Look(path),
        "list": lambda: List(path),
        "open": lambda: Open(path, record["handle"]),
        "create": lambda: Create(path, record["handle"], record["exclusive"]),
        "commit": lambda: Commit(record["handle"], record["content"]),
        "mkdir": lambda: Mkdir(path),
        "rmdir": lambda: Rmdir(path),
        "unlink": lambda: Unlink(path),
        "rename": lambda: Rename(path, record["new_path"]),
    }
    return makers[record["what"]]()


def without_own(listing: str) -> str:
    """A listing without the files that ``check_own`` is about: the fewer files, the shorter the search for an order."""
    if listing == ABSENT:
        return listing
    return "".join(f"{name}/" for name in listing.split("/") if name and not name.startswith(OWN_MARK))


def check_own(processes: Sequence[Process], trees: Sequence[Tree]) -> None:
    """Files that one process made and nobody touched again are there, whole, and came in order; raises Broken."""
    listings = [
        (process.name, set(record["result"].split("/")), record)
        for process in processes
        for record in process.records
        if record["what"] == "list" and record["path"] == "" and "result" in record
    ]
    for process in processes:
        done: list[Record] = []
        for record in process.records:
            if record["what"] != "commit" or not record["path"].startswith(OWN_MARK):
                continue
            kept = _end(record)[1] is not Outcome.UNKNOWN
            for tree in trees:
                shown = tree.paths.get(record["path"])
                if shown != record["content"] and (kept or shown not in (None, "")):
                    raise Broken(f"{process.name} wrote {record}, and {tree.machine} shows {shown!r}")
            for who, names, listing in listings:
                missing = [one["path"] for one in done if one["path"] not in names]
                if record["path"] in names and missing:
                    raise Broken(f"{who} saw {record['path']} of {process.name} and not {missing} before it: {listing}")
            if "failed" not in record:
                done.append(record)
