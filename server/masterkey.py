"""The server's master key: found, made on the first start, and changed.

Owns ``master-key`` of the data folder, and ``master-key.next`` beside it: a new one while the workspace keys are being
wrapped under it.

Invariant: all wrapped keys in the database are under one master key, which is one of the two files. So whoever finds
both, after a crash, tries which one it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from protocol.ids import WorkspaceId
from protocol.keys import WrongKey
from server.keyring import Keyring, create, load, move_secret
from server.metadata import accounts, workspacekeys
from server.metadata.store import MetadataStore

FILE: Final = "master-key"
NEXT: Final = "master-key.next"


async def keyring_of(data: Path, metadata: MetadataStore) -> Keyring:
    """The data folder's, made on the first start; raises WrongKey where it was lost or isn't this database's.

    A change that was interrupted is finished, or undone where it had not come to the database.
    """
    if (data / NEXT).exists():
        await _settle(data, metadata)
    found = load(data / FILE)
    if found is not None:
        return found
    if await metadata.read(accounts.has_users):
        raise WrongKey(
            f"{data / FILE} is missing, and with it the keys of all that is stored here: "
            "put it back from where it was saved"
        )
    return create(data / FILE)


async def rotate(data: Path, metadata: MetadataStore) -> int:
    """Another master key takes the place of the present one, which opens nothing of this database any more.

    Returns how many keys are wrapped under it. Nobody else may use the data folder meanwhile. Raises WrongKey and
    StoreError: where it can't be known whether it was done, the next start finds out.
    """
    old = await keyring_of(data, metadata)
    new = create(data / NEXT)

    def anew(workspace: WorkspaceId, wrapped: bytes) -> bytes:
        return new.wrap(workspace, old.unwrap(workspace, wrapped))

    rewrapped = await metadata.write(lambda tx: workspacekeys.rewrap(tx, anew))
    move_secret(data / NEXT, data / FILE)
    return rewrapped


async def _settle(data: Path, metadata: MetadataStore) -> None:
    """Which of the two is it? Where nothing is wrapped yet, the present one."""
    old, new = load(data / FILE), load(data / NEXT)
    sample = await metadata.read(workspacekeys.any_wrapped)
    if sample is None or (old is not None and _opens(old, *sample)):
        (data / NEXT).unlink()
    elif new is not None and _opens(new, *sample):
        move_secret(data / NEXT, data / FILE)
    else:
        raise WrongKey(
            f"neither {data / FILE} nor {data / NEXT} opens the keys in the database: put the right one back"
        )


def _opens(keyring: Keyring, workspace: WorkspaceId, wrapped: bytes) -> bool:
    try:
        keyring.unwrap(workspace, wrapped)
    except WrongKey:
        return False
    return True
