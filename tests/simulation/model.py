"""What the drive promises, as a machine that does one operation at a time. Pure.

``Model.after`` gives the states that an event may lead to from one state; none where the event contradicts it. A
history is linearizable where some order of its events, each within its own times, leads from the empty drive through
all of them (``checker``).

The promises that are put into it:

- a name means one file or folder for everybody, and a change of names is one step, rename over another name included;
- an open reads one version, the file's at that moment, and a commit makes the next one if the file's version is still
  the one that was opened (compare-and-set); else its bytes are a conflict copy, which must be there in the end;
- a commit to a file that another device removed brings it back; one to a file that this device removed is nobody's,
  also where another device has brought that back by then;
- a create whose name was taken meanwhile is kept under another name; one whose folder is gone brings it back, or is
  kept in the root where it was under way when its machine parted;
- O_EXCL and mkdir make what is not there; the folder of an O_EXCL comes back only where its machine was apart.

Machines share an open file between their descriptors: a commit through one is the base of the next through another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from tests.simulation.history import (
    ABSENT,
    FOLDER,
    OK,
    UNREAD,
    Commit,
    Create,
    Event,
    List,
    Look,
    Mkdir,
    Open,
    Outcome,
    Rename,
    Rmdir,
    Unlink,
    size_of,
)

_FOLDER_NODE: Final = 0
_LOOSE: Final = -1
"""What a descriptor is bound to whose open can't be told from one of something that only its own machine has."""

ASIDE: Final = "aside"
"""Instead of a machine that removed a file: it has a conflict name, and none of those that are looked at."""


class File(NamedTuple):
    """A regular file that has a name or is open."""

    node: int
    content: str
    version: int
    path: str
    """Its name, or its last one."""
    removed_by: str
    """Empty while it has a name."""
    aside_of: str = ""
    """The machine whose program gave it a name that was taken, where it has a conflict name instead: to that program it
    has the name that it gave."""


class Handle(NamedTuple):
    """A descriptor that will be committed."""

    handle: int
    machine: str
    node: int
    version: int
    path: str
    base: str = ""
    """Of a loose one: the label of what was opened; UNREAD where nobody knows."""
    unlinked: bool = False
    """Its own machine took the file's name away: what is written is nobody's, whoever brings the file back."""


class State(NamedTuple):
    """The drive at one moment. Tuples are sorted, so that equal states are equal."""

    entries: tuple[tuple[str, int], ...] = ()
    files: tuple[File, ...] = ()
    handles: tuple[Handle, ...] = ()

    def node(self, path: str) -> int | None:
        """What a path means."""
        return next((node for name, node in self.entries if name == path), None)

    def file(self, node: int) -> File:
        """A file by its node."""
        return next(file for file in self.files if file.node == node)

    def has_folder(self, path: str) -> bool:
        """Whether the folder that the path is in is there."""
        parent = path.rpartition("/")[0]
        return not parent or self.node(parent) == _FOLDER_NODE

    def children(self, folder: str) -> list[str]:
        """The names in a folder."""
        inside = f"{folder}/" if folder else ""
        return [
            name[len(inside) :]
            for name, _ in self.entries
            if name.startswith(inside) and "/" not in name[len(inside) :]
        ]

    def enter(self, path: str, node: int) -> State:
        """With a name more, or with another meaning of it."""
        rest = [entry for entry in self.entries if entry[0] != path]
        return self._replace(entries=tuple(sorted([*rest, (path, node)])))

    def leave(self, path: str) -> State:
        """With a name less."""
        return self._replace(entries=tuple(entry for entry in self.entries if entry[0] != path))

    def keep(self, file: File) -> State:
        """With a file, or with another content of it."""
        rest = [one for one in self.files if one.node != file.node]
        return self._replace(files=tuple(sorted([*rest, file])))

    def hold(self, handle: Handle) -> State:
        """With a descriptor more."""
        return self._replace(handles=tuple(sorted([*self.handles, handle])))

    def unlinked(self, node: int, machine: str) -> State:
        """A machine has taken a file's name away."""
        file = self.file(node)._replace(removed_by=machine)
        handles = [
            one._replace(unlinked=True) if (one.node, one.machine) == (node, machine) else one for one in self.handles
        ]
        return self.keep(file)._replace(handles=tuple(sorted(handles)))

    def tidy(self) -> State:
        """Without files that nobody can reach."""
        reached = {node for _, node in self.entries} | {handle.node for handle in self.handles}
        reached |= {file.node for file in self.files if file.aside_of}
        bases = {handle.base for handle in self.handles if handle.base}
        return self._replace(files=tuple(file for file in self.files if file.node in reached or file.content in bases))


class Model:
    """The promises. ``conflicts`` are the labels of all conflict copies in the end; ``descendants`` what each
    descriptor commits, and what is made of that later; ``seen`` where each content was read, as far as there are names
    for it."""

    def __init__(
        self, conflicts: frozenset[str], descendants: Mapping[int, frozenset[str]], seen: Mapping[str, frozenset[str]]
    ) -> None:
        self._conflicts = conflicts
        self._descendants = descendants
        self._seen = seen

    def after(self, state: State, number: int, event: Event) -> Iterator[State]:
        """The states that an event, which is the history's ``number``-th, may lead to."""
        match event.what:
            case Look() | List():
                if event.excused or self._saw(state, event):
                    yield state
            case Open() as what:
                yield from self._open(state, event, what)
            case Create() as what:
                yield from self._create(state, number + 1, event, what)
            case Commit() as what:
                yield from (after.tidy() for after in self._commit(state, number + 1, event, what))
            case Mkdir(path):
                if event.result == OK and state.node(path) is None and state.has_folder(path):
                    yield state.enter(path, _FOLDER_NODE)
                elif (event.result == "EEXIST" and state.node(path) is not None) or (
                    event.result == "ENOENT" and not state.has_folder(path)
                ):
                    yield state
            case Rmdir(path):
                yield from _rmdir(state, event, path)
            case Unlink(path):
                yield from _unlink(state, event, path)
            case Rename() as what:
                yield from (after.tidy() for after in self._rename(state, event, what))

    # ── questions ──

    def _saw(self, state: State, event: Event) -> bool:
        match event.what:
            case Look(path):
                return event.result == _look(state, path)
            case List(folder):
                if folder and state.node(folder) != _FOLDER_NODE:
                    return event.result == ABSENT
                return event.result == "".join(f"{name}/" for name in state.children(folder))
            case _:
                return False

    def _open(self, state: State, event: Event, what: Open) -> Iterator[State]:
        node = state.node(what.path)
        if event.excused and event.result != ABSENT:
            if not what.handle:
                yield state
                return
            if node not in (None, _FOLDER_NODE) and event.result == UNREAD:
                yield state.hold(Handle(what.handle, event.machine, node, state.file(node).version, what.path))
            yield state.hold(Handle(what.handle, event.machine, _LOOSE, 0, what.path, event.result))
        elif event.result == ABSENT:
            if event.excused or node is None:
                yield state
        elif node not in (None, _FOLDER_NODE):
            file = state.file(node)
            if event.result in (UNREAD, file.content):
                yield (
                    state
                    if not what.handle
                    else state.hold(Handle(what.handle, event.machine, node, file.version, what.path))
                )

    # ── changes ──

    def _create(self, state: State, node: int, event: Event, what: Create) -> Iterator[State]:
        taken = state.node(what.path) is not None
        if event.result == "EEXIST":
            if taken:
                yield state
            return
        if event.result == "ENOENT":
            if not state.has_folder(what.path):
                yield state
            return
        if not state.has_folder(what.path):
            if what.exclusive and event.outcome is Outcome.KNOWN:
                return
            if event.outcome is Outcome.KEPT:
                yield from self._made(state, node, event, what, what.path.rpartition("/")[2])
            state = state.enter(what.path.rpartition("/")[0], _FOLDER_NODE)  # It comes back with the file.
        yield from self._made(state, node, event, what, what.path)

    def _made(self, state: State, node: int, event: Event, what: Create, path: str) -> Iterator[State]:
        """A new file at a path in a folder that is there."""
        taken = state.node(path) is not None
        if taken and what.exclusive:
            return
        made = state.keep(File(node, "", 0, path, *((ASIDE, event.machine) if taken else ("", ""))))
        made = made.hold(Handle(what.handle, event.machine, node, 0, path))
        if not taken:
            yield made.enter(path, node)
        elif "" in self._conflicts or self._comes_to_light(what.handle):
            yield made

    def _commit(self, state: State, copy: int, event: Event, what: Commit) -> Iterator[State]:
        handle = next((one for one in state.handles if one.handle == what.handle), None)
        if handle is None:
            return
        state = state._replace(handles=tuple(one for one in state.handles if one is not handle))
        kept = what.content in self._conflicts
        if handle.unlinked:
            yield state
        if handle.node == _LOOSE:
            yield from self._loose_commit(state, copy, handle, what)
            return
        file = state.file(handle.node)
        if file.version != handle.version:
            if kept:
                yield from _copied(state, file.path)
            elif what.content == file.content:
                yield state
            return
        new = file._replace(content=what.content, version=file.version + 1)
        state = _rebased(state, handle.machine, file, new)
        if not file.removed_by:
            yield state.keep(new)
        elif file.removed_by == ASIDE:
            if kept:
                yield from _copied(state.keep(new), file.path)
            elif file.aside_of and self._comes_to_light(what.handle):
                yield state.keep(new)
        else:
            yield from _brought_back(state, new, kept=kept)

    def _loose_commit(self, state: State, copy: int, handle: Handle, what: Commit) -> Iterator[State]:
        """To what its machine opened, told by the label: others may have renamed, changed or removed it since."""
        for file in state.files:
            is_aside = file.removed_by == ASIDE
            if handle.base in (UNREAD, file.content) and (not is_aside or file.aside_of == handle.machine):
                new = file._replace(content=what.content, version=file.version + 1)
                after = _rebased(state, handle.machine, file, new)
                if is_aside:
                    if self._comes_to_light(what.handle):
                        yield after.keep(new)
                elif file.removed_by:
                    yield from _brought_back(after, new, kept=False)
                else:
                    yield after.keep(new)
                if file.removed_by == handle.machine:
                    yield state
        elsewhere = File(copy, what.content, 1, handle.path, "")
        state = _rebased(state, handle.machine, File(_LOOSE, handle.base, 0, handle.path, ""), elsewhere)
        if what.content in self._conflicts:
            yield from _copied(state, handle.path)
        for path in {handle.path, *self._seen.get(what.content, ())}:  # It was removed, and comes back.
            if state.node(path) is None:
                yield from _brought_back(state, elsewhere._replace(path=path), kept=False)

    def _rename(self, state: State, event: Event, what: Rename) -> Iterator[State]:
        node = state.node(what.path)
        if event.result == "ENOENT":
            if node is None or not state.has_folder(what.new_path):
                yield state
            return
        if event.result != OK:
            yield state
            return
        if not state.has_folder(what.new_path):
            return
        if node not in (None, _FOLDER_NODE):
            yield from self._moved(state.leave(what.path), event, state.file(node), what.new_path)
        for file in state.files:
            if (file.path, file.removed_by, file.aside_of) == (what.path, ASIDE, event.machine):
                yield from self._moved(state, event, file._replace(removed_by="", aside_of=""), what.new_path)

    def _moved(self, state: State, event: Event, file: File, path: str) -> Iterator[State]:
        """A file under a new name."""
        over = state.node(path)
        if over == _FOLDER_NODE:
            return
        moved = state.enter(path, file.node).keep(file._replace(path=path))
        if over is None:
            yield moved
            return
        replaced = state.file(over)
        yield moved.unlinked(over, event.machine)
        if replaced.content in self._conflicts or any(one.node == over for one in state.handles):
            yield moved.keep(replaced._replace(removed_by=ASIDE))

    def _comes_to_light(self, handle: int) -> bool:
        """Whether what a descriptor commits to a file with a conflict name, or what is made of that later, is there in
        the end, or got another name from who made it."""
        contents = self._descendants.get(handle, frozenset())
        return not contents.isdisjoint(self._conflicts | self._seen.keys())


def _look(state: State, path: str) -> str:
    node = state.node(path)
    if node is None:
        return ABSENT
    return FOLDER if node == _FOLDER_NODE else str(size_of(state.file(node).content))


def _rmdir(state: State, event: Event, path: str) -> Iterator[State]:
    node = state.node(path)
    match event.result:
        case "ok":
            if node == _FOLDER_NODE and not state.children(path):
                yield state.leave(path)
        case "ENOENT":
            if node is None:
                yield state
        case "ENOTEMPTY":
            if node == _FOLDER_NODE:  # A conflict copy may be in it, too.
                yield state
        case _:
            yield state


def _unlink(state: State, event: Event, path: str) -> Iterator[State]:
    node = state.node(path)
    match event.result:
        case "ok":
            if node not in (None, _FOLDER_NODE):
                yield state.leave(path).unlinked(node, event.machine).tidy()
        case "ENOENT":
            if node is None:
                yield state
        case _:
            yield state


def _rebased(state: State, machine: str, before: File, after: File) -> State:
    """A machine's descriptors share what it commits: they are of the new version where they were of the one before."""

    def rebased(one: Handle) -> Handle:
        if one.machine != machine:
            return one
        if (one.node, one.version) == (before.node, before.version) != (_LOOSE, 0):
            return one._replace(version=after.version)
        if one.node == _LOOSE and one.base == before.content not in (UNREAD, ""):
            return one._replace(base=after.content)
        return one

    return state._replace(handles=tuple(sorted(rebased(one) for one in state.handles)))


def _copied(state: State, path: str) -> Iterator[State]:
    """With a conflict copy beside a path: its folder comes back for it, or else it is in the root."""
    yield state
    if not state.has_folder(path):
        yield state.enter(path.rpartition("/")[0], _FOLDER_NODE)


def _brought_back(state: State, file: File, *, kept: bool) -> Iterator[State]:
    """Where it was, with its folder, or under a conflict name where that is taken; in the root where its folder can't
    come back, because that is another by now."""
    if not state.has_folder(file.path):
        with_folder = state.enter(file.path.rpartition("/")[0], _FOLDER_NODE)
        yield with_folder.enter(file.path, file.node).keep(file._replace(removed_by=""))
    elif state.node(file.path) is None:
        yield state.enter(file.path, file.node).keep(file._replace(removed_by=""))
    elsewhere = file.path.rpartition("/")[2]
    if state.node(elsewhere) is None:
        yield state.enter(elsewhere, file.node).keep(file._replace(path=elsewhere, removed_by=""))
    if kept:
        yield state.keep(file._replace(removed_by=ASIDE))
