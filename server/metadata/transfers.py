"""Contents that come in several requests: how far each has come, and what of it is kept.

Knows rows; bytes are cut and sealed before they get here.

Invariants:

- ``received`` never goes back: whoever was told an offset can go on from there, at any server;
- the blocks reach from 0 to ``cut_bytes``, the tail's parts from there to ``received``, without gaps;
- only the request that began last adds to a transfer (``turn``), and only to what it saw: two requests never mix;
- the blocks that are named here are needed, though no version names them yet: whatever removes blocks spares them;
- ``received`` is the whole ``length`` only where all is done: of a content that is no part, when it is committed.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from protocol import manifest as manifests
from protocol.ids import BlockId, UserId, WorkspaceId
from protocol.manifest import Manifest, Piece
from protocol.messages.blocks import SealedBlock
from server.metadata import blocks
from server.metadata.accounts import Unknown
from server.metadata.store import Transaction

UNFINISHED_MAX: Final = 10_000
"""Of one user in one workspace: so that what nobody goes on with is bounded."""

EXPIRE_AFTER_NS: Final = 7 * 86_400 * 10**9
"""Since its last request."""

REMEMBER_NS: Final = 86_400 * 10**9
"""How long it is known that a content was committed, to whom the answer didn't reach."""

PARTIAL: Final = "partial"


class WrongOffset(Exception):
    """The request begins elsewhere than where the transfer ends: ask how far it has come."""


class Overtaken(Exception):
    """Another request goes on with the transfer."""


class TooMuch(Exception):
    """More has come than was to come."""


class ChecksumMismatch(Exception):
    """What came is not what the client sent; nothing of it was kept. Send it again."""


class TooMany(Exception):
    """The user has begun too many transfers and ended none of them."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A row; see the migration."""

    workspace: WorkspaceId
    id: str
    length: int | None
    received: int
    cut_bytes: int
    cut_pieces: int
    turn: int
    metadata: str
    concat: str | None
    etag: str | None
    expires_ns: int
    tail_parts: int = 0
    """How many rows the tail has."""

    @property
    def tail_bytes(self) -> int:
        """Plain bytes that are not cut yet."""
        return self.received - self.cut_bytes

    @property
    def is_partial(self) -> bool:
        """Whether it is a part, to be joined with others."""
        return self.concat == PARTIAL

    @property
    def is_final(self) -> bool:
        """Whether it was made of parts."""
        return self.concat is not None and not self.is_partial


_COLUMNS: Final = "length, received, cut_bytes, cut_pieces, turn, metadata, concat, etag, expires_ns"


def create(
    tx: Transaction,
    workspace: WorkspaceId,
    user: UserId,
    length: int | None,
    metadata: str,
    concat: str | None,
    now_ns: int,
) -> Transfer:
    """A new one, of which nothing has come; raises TooMany, and OverQuota where nothing more fits."""
    blocks.check_quota(tx, workspace, 1)
    if tx.one(
        "SELECT 1 FROM transfers WHERE workspace = ? AND user_id = ? AND etag IS NULL LIMIT 1 OFFSET ?",
        (workspace, user, UNFINISHED_MAX - 1),
    ):
        raise TooMany(f"{UNFINISHED_MAX} uploads were begun and not ended: end them, or wait until they expire")
    made = Transfer(
        workspace, secrets.token_hex(16), length, 0, 0, 0, 1, metadata, concat, None, now_ns + EXPIRE_AFTER_NS
    )
    tx.execute(
        f"INSERT INTO transfers (workspace, id, user_id, {_COLUMNS}) VALUES (?, ?, ?, ?, 0, 0, 0, 1, ?, ?, NULL, ?)",
        (workspace, made.id, user, length, metadata, concat, made.expires_ns),
    )
    return made


def find(tx: Transaction, workspace: WorkspaceId, identity: str, user: UserId, now_ns: int) -> Transfer:
    """One that has not expired; raises Unknown, for another user's too."""
    row = tx.one(
        f"SELECT {_COLUMNS}, (SELECT count(*) FROM transfer_tails t WHERE t.workspace = transfers.workspace"
        " AND t.transfer = transfers.id) FROM transfers WHERE workspace = ? AND id = ? AND user_id = ?",
        (workspace, identity, user),
    )
    if row is None or row[8] <= now_ns:
        raise Unknown("there is no such upload, or not any more")
    return Transfer(workspace, identity, *row)


def take_turn(tx: Transaction, found: Transfer, offset: int, length: int | None, now_ns: int) -> Transfer:
    """A request begins to add to it, and any other stops; raises WrongOffset.

    ``length``, where it isn't None, is that of the whole, which was not known before.
    """
    if offset != found.received:
        raise WrongOffset(f"{found.received} bytes of this upload have come, so it can't go on at {offset}")
    taken = replace(
        found,
        turn=found.turn + 1,
        length=found.length if length is None else length,
        expires_ns=max(found.expires_ns, now_ns + EXPIRE_AFTER_NS),
    )
    _update(tx, taken)
    return taken


def check_turn(tx: Transaction, held: Transfer, user: UserId, now_ns: int) -> None:
    """Raises Overtaken where this isn't the request that began last, and Unknown where the transfer is gone."""
    if find(tx, held.workspace, held.id, user, now_ns).turn != held.turn:
        raise Overtaken("another request goes on with this upload")


def add_blocks(tx: Transaction, held: Transfer, now_ns: int, pieces: Sequence[Piece]) -> Transfer:
    """The tail is cut, and these blocks are stored. What is left of it is to be added again.

    ``received`` doesn't go back if as much of the tail as was there is in them, or is added again.
    """
    if pieces:
        tx.execute(
            "INSERT INTO transfer_blocks (workspace, transfer, start, manifest) VALUES (?, ?, ?, ?)",
            (held.workspace, held.id, held.cut_bytes, manifests.encode(Manifest.of(pieces))),
        )
    _remove_tail(tx, held)
    cut_bytes = held.cut_bytes + sum(piece.length for piece in pieces)
    longer = replace(
        held,
        received=cut_bytes,
        cut_bytes=cut_bytes,
        cut_pieces=held.cut_pieces + len(pieces),
        tail_parts=0,
        expires_ns=now_ns + EXPIRE_AFTER_NS,
    )
    _update(tx, longer)
    return longer


def add_to_tail(tx: Transaction, held: Transfer, now_ns: int, part: SealedBlock, plain_bytes: int) -> Transfer:
    """More has come that can't be cut yet; raises OverQuota."""
    row = tx.one("SELECT sum(length(sealed)) FROM transfer_tails WHERE workspace = ?", (held.workspace,))
    blocks.check_quota(tx, held.workspace, len(part.sealed) + (row[0] if row and row[0] else 0))
    tx.execute(
        "INSERT INTO transfer_tails (workspace, transfer, start, id, sealed) VALUES (?, ?, ?, ?, ?)",
        (held.workspace, held.id, held.received, part.id, part.sealed),
    )
    longer = replace(
        held,
        received=held.received + plain_bytes,
        tail_parts=held.tail_parts + 1,
        expires_ns=now_ns + EXPIRE_AFTER_NS,
    )
    _update(tx, longer)
    return longer


def pieces(tx: Transaction, found: Transfer) -> list[Piece]:
    """All that is cut."""
    rows = tx.all(
        "SELECT manifest FROM transfer_blocks WHERE workspace = ? AND transfer = ? ORDER BY start",
        (found.workspace, found.id),
    )
    return [piece for (manifest,) in rows for piece in manifests.decode(manifest).pieces]


def tail(tx: Transaction, found: Transfer) -> list[SealedBlock]:
    """What isn't cut, in parts."""
    rows = tx.all(
        "SELECT id, sealed FROM transfer_tails WHERE workspace = ? AND transfer = ? ORDER BY start",
        (found.workspace, found.id),
    )
    return [SealedBlock(BlockId(identity), sealed) for identity, sealed in rows]


def finish(tx: Transaction, held: Transfer, length: int, etag: str, now_ns: int) -> Transfer:
    """It has become this version; what was kept of it goes."""
    done = replace(held, length=length, received=length, etag=etag, expires_ns=now_ns + REMEMBER_NS)
    _update(tx, done)
    _remove_content(tx, held.workspace, held.id)
    return done


def remove(tx: Transaction, workspace: WorkspaceId, identity: str) -> None:
    """It was ended, or nobody went on with it. Its blocks are the workspace's and stay."""
    _remove_content(tx, workspace, identity)
    tx.execute("DELETE FROM transfers WHERE workspace = ? AND id = ?", (workspace, identity))


def remove_expired(tx: Transaction, now_ns: int, most: int = 100) -> int:
    """Some of those whose time is over; returns how many."""
    rows = tx.all(
        "SELECT workspace, id FROM transfers WHERE expires_ns <= ? ORDER BY expires_ns LIMIT ?", (now_ns, most)
    )
    for workspace, identity in rows:
        remove(tx, WorkspaceId(workspace), identity)
    return len(rows)


def _update(tx: Transaction, held: Transfer) -> None:
    tx.execute(
        "UPDATE transfers SET length = ?, received = ?, cut_bytes = ?, cut_pieces = ?, turn = ?, etag = ?,"
        " expires_ns = ? WHERE workspace = ? AND id = ?",
        (
            *(held.length, held.received, held.cut_bytes, held.cut_pieces, held.turn, held.etag, held.expires_ns),
            *(held.workspace, held.id),
        ),
    )


def _remove_tail(tx: Transaction, held: Transfer) -> None:
    tx.execute("DELETE FROM transfer_tails WHERE workspace = ? AND transfer = ?", (held.workspace, held.id))


def _remove_content(tx: Transaction, workspace: WorkspaceId, identity: str) -> None:
    for table in ("transfer_tails", "transfer_blocks"):
        tx.execute(f"DELETE FROM {table} WHERE workspace = ? AND transfer = ?", (workspace, identity))
