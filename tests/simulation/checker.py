"""Whether a history can have happened on a drive that keeps its contract. Pure: it knows events, and trees at the end.

The search is Wing and Gong's (Testing and Verifying Concurrent Objects, 1993) with Lowe's memo of configurations: the
events that are taken, and the state. Of the events that nothing forbids to be next, those that only look and
agree with the state are taken at once: to take them later could make nothing possible that is not now.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tests.simulation.history import (
    ABSENT,
    FOREVER_S,
    UNREAD,
    Commit,
    Create,
    Event,
    List,
    Look,
    Open,
    Outcome,
    Rename,
    Unlink,
)
from tests.simulation.model import Model, State

CONFIGURATIONS_MAX: Final = 200_000
"""Past so many a history is given up, which counts as a failure: no seed may hide behind it."""

FIRST_TRY_CONFIGURATIONS: Final = 20_000
"""Of the search without changes that may not have happened and that nobody seems to have seen."""

FEWEST_CONFIGURATIONS: Final = 50_000
"""Of the search for the order with the fewest changes that may not have happened."""


class Broken(Exception):
    """The history contradicts the contract. The message shows where."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What one mount shows in the end: labels of files by path, None for folders."""

    machine: str
    paths: dict[str, str | None]

    def conflicts(self, mark: str) -> frozenset[str]:
        """The labels of conflict copies, whose names have this mark."""
        return frozenset(label for path, label in self.paths.items() if mark in path and label is not None)


def check(history: Sequence[Event], trees: Sequence[Tree], mark: str) -> None:
    """Raises Broken. ``mark`` is what the names of conflict copies have in them."""
    first = trees[0] if trees else Tree("", {})
    for tree in trees[1:]:
        if tree.paths != first.paths:
            only = {path: label for path, label in tree.paths.items() if first.paths.get(path, "") != label}
            other = {path: label for path, label in first.paths.items() if tree.paths.get(path, "") != label}
            raise Broken(f"after healing {first.machine} shows {other} and {tree.machine} {only}")
    check_order(history, first.conflicts(mark))


def check_order(history: Sequence[Event], conflicts: frozenset[str] = frozenset()) -> None:
    """Raises Broken where the events have no order that the model allows; ``conflicts`` as ``Model`` has it."""
    model = Model(conflicts, _descendants(history), _seen(history))
    events = _bounded(_superseded(sorted(history, key=lambda event: (event.call_s, event.return_s))))
    for search in (
        _Search(_without_unseen(events, conflicts), model, FIRST_TRY_CONFIGURATIONS),
        _Search(events, model, FEWEST_CONFIGURATIONS, fewest=True),
    ):
        with contextlib.suppress(Broken):
            search.run()
            return
    _Search(events, model, CONFIGURATIONS_MAX).run()


class _Search:
    def __init__(self, events: Sequence[Event], model: Model, most: int, *, fewest: bool = False) -> None:
        """``fewest`` tries orders with few changes that may not have happened before those with more."""
        self._most = most
        self._fewest = fewest
        self._events = events
        self._model = model
        self._pure = [
            isinstance(event.what, Look | List) or (isinstance(event.what, Open) and not event.what.handle)
            for event in events
        ]
        self._optional = sum(1 << at for at, event in enumerate(events) if event.outcome is Outcome.UNKNOWN)
        self._before, self._behind = _made_apart(events)
        self._all = (1 << len(events)) - 1
        self._best = (0, State(), 0)
        """The most events taken, the state then, and which they were."""

    def run(self) -> None:
        seen: set[tuple[int, State]] = set()
        ahead: dict[int, list[tuple[int, State]]] = {0: [(0, State())]}
        """By how many changes were taken that may not have happened, where that matters."""
        while ahead:
            least = min(ahead)
            taken, state = self._look(*ahead[least].pop())
            if not ahead[least]:
                del ahead[least]
            if (taken | self._optional) == self._all:
                return
            if (taken, state) in seen:
                continue
            seen.add((taken, state))
            if len(seen) > self._most:
                raise Broken(f"given up after {self._most} configurations\n{self._report()}")
            if taken.bit_count() > self._best[0]:
                self._best = (taken.bit_count(), state, taken)
            # What returned first goes last onto the stack, and so is tried first; what may be left out, last.
            for at in sorted(self._next(taken), key=self._patience):
                for after in self._model.after(state, at, self._events[at]):
                    now = taken | 1 << at
                    ahead.setdefault((now & self._optional).bit_count() if self._fewest else 0, []).append((now, after))
        raise Broken(self._report())

    def _patience(self, at: int) -> tuple[float, int]:
        return (-self._events[at].return_s, at)

    def _next(self, taken: int) -> list[int]:
        """Events that no other must precede."""
        found: list[int] = []
        awaited = ~taken & ~self._optional
        limit_s = FOREVER_S
        rest = ~taken & self._all
        while rest:
            at = (rest & -rest).bit_length() - 1
            event = self._events[at]
            if event.call_s > limit_s:
                break
            found.append(at)
            limit_s = min(limit_s, event.return_s)
            rest &= rest - 1
        return [
            at
            for at in found
            if self._events[at].call_s <= limit_s and not self._before[at] & awaited and not self._behind[at] & taken
        ]

    def _look(self, taken: int, state: State) -> tuple[int, State]:
        """Take what only looks and agrees, as long as there is any."""
        while True:
            before = taken
            for at in self._next(taken):
                if self._pure[at] and any(True for _ in self._model.after(state, at, self._events[at])):
                    taken |= 1 << at
            if taken == before:
                return taken, state

    def _report(self) -> str:
        """The events around the place where no order went any further."""
        _, state, taken = self._best
        stuck = self._next(taken)
        first = min(stuck, default=0)
        lines = ["no order of these events agrees with the contract; the longest one stops here:"]
        lines += [f"  state: {dict(state.entries)}"]
        lines += [f"  file:  {file}" for file in state.files]
        lines += [f"  open:  {handle}" for handle in state.handles]
        for at in range(max(0, first - 25), min(len(self._events), max(stuck, default=0) + 3)):
            mark = "taken" if taken >> at & 1 else "STUCK" if at in stuck else ""
            lines.append(f"  {mark:<6}{self._events[at]}")
        return "\n".join(lines)


def _without_unseen(events: Sequence[Event], conflicts: frozenset[str]) -> list[Event]:
    """Without content that may never have arrived and that nobody read, nor the creates of such files.

    An order without them is an order with them left out, so to find one is enough; most histories have one.
    """
    seen = conflicts | {event.result for event in events if isinstance(event.what, Open)}

    def counts(event: Event) -> bool:
        return event.outcome is not Outcome.UNKNOWN or (isinstance(event.what, Commit) and event.what.content in seen)

    handles = {event.what.handle for event in events if isinstance(event.what, Commit) and counts(event)}
    return [
        event
        for event in events
        if not isinstance(event.what, Commit | Create)
        or counts(event)
        or (isinstance(event.what, Create) and event.what.handle in handles)
    ]


def _seen(events: Sequence[Event]) -> dict[str, frozenset[str]]:
    """The paths at which each content was read."""
    seen: dict[str, frozenset[str]] = {}
    for event in events:
        if isinstance(event.what, Open) and not event.excused and event.result not in (UNREAD, ABSENT, ""):
            seen[event.result] = seen.get(event.result, frozenset()) | {event.what.path}
    return seen


def _descendants(events: Sequence[Event]) -> dict[int, frozenset[str]]:
    """What each descriptor commits, and what is made of that later."""
    commits = {event.what.handle: event.what.content for event in events if isinstance(event.what, Commit)}
    opens = [
        ((event.machine, event.what.path), event.result, commits[event.what.handle])
        for event in events
        if isinstance(event.what, Open) and event.what.handle in commits
    ]
    made = {event.what.handle: (event.machine, event.what.path) for event in events if isinstance(event.what, Create)}

    def found(handle: int) -> frozenset[str]:
        contents, before = {commits[handle]}, 0
        while len(contents) > before:
            before = len(contents)
            for where, opened, content in opens:
                if opened in contents or (opened == UNREAD and where == made.get(handle)):
                    contents.add(content)
        return frozenset(contents)

    return {handle: found(handle) for handle in commits}


def _superseded(events: Sequence[Event]) -> list[Event]:
    """Bytes that are kept need not come to light where their own machine later wrote over them or removed them."""
    handles = {event.what.handle: event.what.path for event in events if isinstance(event.what, Create | Open)}
    out: list[Event] = []
    for event in events:
        if event.outcome is Outcome.KEPT and _is_superseded(event, events, handles):
            out.append(_as_unknown(event))
        else:
            out.append(event)
    return out


def _is_superseded(event: Event, events: Sequence[Event], handles: dict[int, str]) -> bool:
    handle = event.what.handle if isinstance(event.what, Commit | Create) else 0
    paths = {handles.get(handle, "")}
    """Where its machine has it by then: a rename may come to nothing later."""
    for other in events:
        if other.machine != event.machine or other.return_s < event.call_s or other is event:
            continue
        match other.what:
            case Commit(other_handle):
                gone = other_handle != handle and handles.get(other_handle, "") in paths
            case Unlink(path):
                gone = path in paths
            case Rename(path, new_path):
                gone = new_path in paths
                paths |= {new_path} if path in paths else set()
            case _:
                gone = False
        if gone:
            return True
    return False


def _as_unknown(event: Event) -> Event:
    return replace(event, return_s=FOREVER_S, outcome=Outcome.UNKNOWN)


def _bounded(events: Sequence[Event]) -> list[Event]:
    """With earlier ends of the changes that somebody saw: each content is of one commit, which was before its reads."""
    seen_s: dict[str, float] = {}
    for event in events:
        if isinstance(event.what, Open) and not event.excused:
            seen_s[event.result] = min(seen_s.get(event.result, FOREVER_S), event.return_s)
    until_s = {
        event.what.handle: seen_s[event.what.content]
        for event in events
        if isinstance(event.what, Commit) and event.what.content in seen_s
    }

    def bounded(event: Event) -> Event:
        if not isinstance(event.what, Commit | Create) or event.what.handle not in until_s:
            return event
        return_s = min(event.return_s, until_s[event.what.handle])
        return replace(
            event, return_s=return_s, outcome=Outcome.KEPT if event.outcome is Outcome.UNKNOWN else event.outcome
        )

    return [bounded(event) for event in events]


def _made_apart(events: Sequence[Event]) -> tuple[list[int], list[int]]:
    """Of each event, those of its machine that are before it and those that are behind it, as all were made apart."""
    before, behind = [0] * len(events), [0] * len(events)
    apart = [at for at, event in enumerate(events) if event.told_s < FOREVER_S]
    for first in apart:
        for second in apart:
            if events[first].machine == events[second].machine and events[first].told_s < events[second].call_s:
                before[second] |= 1 << first
                behind[first] |= 1 << second
    return before, behind
