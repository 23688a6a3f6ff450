"""What holds of a workspace's rows after every transaction, checked by reading all of them."""

from __future__ import annotations

from protocol import manifest as manifests
from protocol.ids import ROOT_NODE, WorkspaceId
from protocol.keys import FIRST_KEY
from protocol.sealing import plain_length
from server.metadata import blocks
from server.metadata.store import Transaction


class Broken(Exception):
    """The rows contradict each other. The message says which."""


def check(tx: Transaction, workspace: WorkspaceId) -> None:
    """Raises Broken. Reads the whole workspace: for tests, and for looking into a database that is in doubt."""
    _check_links(tx, workspace)
    _check_reach(tx, workspace)
    _check_versions(tx, workspace)
    _check_log(tx, workspace)
    _check_counts(tx, workspace)
    _check_transfers(tx, workspace)
    _check_keys(tx, workspace)
    _check_spares(tx, workspace)


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Broken(otherwise)


def _check_links(tx: Transaction, workspace: WorkspaceId) -> None:
    """Entries and nlink agree; the parents of entries are folders in the tree."""
    nodes = {
        row[0]: row[1:]
        for row in tx.all("SELECT id, kind, nlink, last_name, removed_seq FROM nodes WHERE workspace = ?", (workspace,))
    }
    names = dict.fromkeys(nodes, 0)
    subfolders = dict.fromkeys(nodes, 0)
    for parent, name, node in tx.all("SELECT parent, name, node FROM entries WHERE workspace = ?", (workspace,)):
        _must(node in nodes and parent in nodes, f"entry {name!r} of {parent} names an unknown node")
        _must(nodes[parent][0] == "folder" and nodes[parent][1] > 0, f"{parent}, which has entries, is no folder")
        names[node] += 1
        subfolders[parent] += nodes[node][0] == "folder"
    for node, (kind, nlink, last_name, removed_seq) in nodes.items():
        where = f"node {node}, a {kind} with nlink {nlink}, {names[node]} names and {subfolders[node]} subfolders"
        if node == ROOT_NODE:
            _must(names[node] == 0 and nlink == 2 + subfolders[node], where)
        elif kind == "folder":
            _must(names[node] <= 1 and nlink == names[node] * (2 + subfolders[node]), where)
        else:
            _must(nlink == names[node], where)
        is_known = last_name is not None and removed_seq is not None
        _must(node == ROOT_NODE or nlink > 0 or is_known, f"{where}, has no last place")


def _check_reach(tx: Transaction, workspace: WorkspaceId) -> None:
    """Each node with a name is reached from the root: so no folder is below itself."""
    below: dict[int, list[int]] = {}
    named: set[int] = {ROOT_NODE}
    for parent, node in tx.all("SELECT parent, node FROM entries WHERE workspace = ?", (workspace,)):
        below.setdefault(parent, []).append(node)
        named.add(node)
    reached: set[int] = set()
    ahead: list[int] = [ROOT_NODE]
    while ahead:
        node = ahead.pop()
        if node not in reached:
            reached.add(node)
            ahead += below.get(node, [])
    _must(reached == named, f"not reached from the root: {sorted(named - reached)}")


def _check_versions(tx: Transaction, workspace: WorkspaceId) -> None:
    """Versions are numbered from 1 without gaps, and the last is the head."""
    wrong = tx.all(
        "SELECT n.id FROM nodes n LEFT JOIN versions v ON v.workspace = n.workspace AND v.node = n.id"
        " WHERE n.workspace = ? GROUP BY n.id, n.version"
        " HAVING n.version <> count(v.number) OR n.version <> coalesce(max(v.number), 0)",
        (workspace,),
    )
    _must(not wrong, f"versions and head disagree of nodes {wrong}")


def _check_log(tx: Transaction, workspace: WorkspaceId) -> None:
    """Changes are numbered to the head without gaps, from 1 or from where the log was pruned."""
    numbers = [row[0] for row in tx.all("SELECT seq FROM changes WHERE workspace = ? ORDER BY seq", (workspace,))]
    (head,) = tx.one("SELECT head_seq FROM workspaces WHERE id = ?", (workspace,)) or (None,)
    if numbers:
        _must(numbers == list(range(numbers[0], numbers[0] + len(numbers))), "the change log has gaps")
        _must(head == numbers[-1], f"the head is {head}, the last change {numbers[-1]}")


def _check_counts(tx: Transaction, workspace: WorkspaceId) -> None:
    """The workspace's totals are those of its rows."""
    kept = tx.one(
        "SELECT node_count, used_bytes, block_count, old_blocks, key_id FROM workspaces WHERE id = ?", (workspace,)
    )
    _must(kept is not None, "there is no such workspace")
    assert kept is not None
    (nodes,) = tx.one("SELECT count(*) FROM nodes WHERE workspace = ? AND nlink > 0", (workspace,)) or (0,)
    rows = tx.all("SELECT sealed_bytes, key_id FROM blocks WHERE workspace = ?", (workspace,))
    old = sum(key_id != kept[4] for _, key_id in rows)
    counted = nodes, sum(sealed_bytes for sealed_bytes, _ in rows), len(rows), old
    _must(kept[:4] == counted, f"totals are {kept[:4]}, rows say {counted}")


def _check_keys(tx: Transaction, workspace: WorkspaceId) -> None:
    """Keys are numbered from 1 to the last without gaps; of an end-to-end workspace there are none."""
    ids = [row[0] for row in tx.all("SELECT id FROM workspace_keys WHERE workspace = ? ORDER BY id", (workspace,))]
    last, envelope = tx.one("SELECT key_id, envelope FROM workspaces WHERE id = ?", (workspace,)) or (None, None)
    if envelope is not None:
        _must(not ids, f"the workspace has an envelope and the keys {ids}")
        return
    _must(ids == list(range(FIRST_KEY, FIRST_KEY + len(ids))) and last == ids[-1], f"{ids} are keys, {last} the last")


def _check_spares(tx: Transaction, workspace: WorkspaceId) -> None:
    """What is to be deleted, or is not yet a block's, is none's."""
    both = tx.all(
        "SELECT s.object FROM spare_objects s JOIN blocks b ON b.workspace = s.workspace AND b.object = s.object"
        " WHERE s.workspace = ?",
        (workspace,),
    )
    _must(not both, f"these objects are blocks and listed as spare: {both}")


def _check_transfers(tx: Transaction, workspace: WorkspaceId) -> None:
    """What is kept of a content that is on its way has no gap: blocks that are there, then a tail."""
    for transfer, received, cut_bytes, cut_pieces, etag in tx.all(
        "SELECT id, received, cut_bytes, cut_pieces, etag FROM transfers WHERE workspace = ?", (workspace,)
    ):
        runs, tails = (
            tx.all(
                f"SELECT start, {what} FROM {table} WHERE workspace = ? AND transfer = ? ORDER BY start",
                (workspace, transfer),
            )
            for what, table in (("manifest", "transfer_blocks"), ("sealed", "transfer_tails"))
        )
        if etag is not None:
            _must(not runs and not tails, f"transfer {transfer} is done, and something is kept of it")
            continue
        at, pieces = 0, 0
        for start, encoded in runs:
            manifest = manifests.decode(encoded)
            _must(start == at, f"a run of transfer {transfer} begins at {start}, not at {at}")
            lengths = blocks.plain_lengths(tx, workspace, manifest.blocks())
            whole = all(lengths.get(piece.block) == piece.length for piece in manifest.pieces)
            _must(whole, f"a block of transfer {transfer} is not there, or has another length")
            at, pieces = at + manifest.size_bytes, pieces + len(manifest.pieces)
        _must((at, pieces) == (cut_bytes, cut_pieces), f"transfer {transfer} has {pieces} blocks of {at} bytes")
        for start, sealed in tails:
            _must(start == at, f"the tail of transfer {transfer} goes on at {start}, not at {at}")
            at += plain_length(sealed)
        _must(at == received, f"of transfer {transfer} {at} bytes are kept, not {received}")
