"""The keys of the workspace that is being opened: the server's answer has them, or has them in an envelope.

Knows what a server may and may not say about the kind of a workspace; knows nothing of files and of the network.

Invariant: what was end-to-end encrypted once is never opened as anything else. A server that could make a mount forget
that would be sent names and contents under a key of its own.
"""

from __future__ import annotations

from msgspec.structs import replace

from backend.errors import NoKey, Unusable
from protocol.keys import FIRST_KEY
from protocol.messages.accounts import Workspace
from protocol.passphrase import BadEnvelope, WrongPassphrase, disclose


def _is_known(asked: Workspace, known: Workspace | None) -> bool:
    """Whether what a mount remembers has the key of an end-to-end workspace."""
    return (
        known is not None
        and known.end_to_end
        and bool(known.key)
        and (known.id, known.envelope) == (asked.id, asked.envelope)
    )


def keeping(told: Workspace, known: Workspace) -> Workspace:
    """With the later keys that were known of it: a server that was restored from a backup may have lost some, and what
    they sealed is still to be opened here."""
    if (known.id, known.key) != (told.id, told.key):
        return told
    return replace(told, later_keys={**known.later_keys, **told.later_keys})


def keys_of(opened: Workspace) -> dict[int, bytes]:
    """All keys of a workspace that has them, by their ids."""
    return {FIRST_KEY: opened.key, **opened.later_keys}


def with_key(asked: Workspace, known: Workspace | None, passphrase: str | None) -> Workspace:
    """The workspace with its keys; raises NoKey and Unusable. Takes a third of a second where they are in an envelope.

    ``asked`` is the server's answer, ``known`` what was remembered of it on this machine.
    """
    called = f"{asked.owner}/{asked.name}"
    if not asked.end_to_end:
        if known is not None and known.end_to_end:
            raise Unusable(
                f"{called} was end-to-end encrypted when it was mounted last, and the server says that it is not now: "
                "it may be another workspace of that name, or a server that is not to be trusted"
            )
        if passphrase is not None:
            raise NoKey(f"{called} has no passphrase: it is not end-to-end encrypted")
        return asked if known is None else keeping(asked, known)
    if passphrase is None:
        if known is None or not _is_known(asked, known):
            raise NoKey(f"{called} is end-to-end encrypted, and this needs its passphrase: --passphrase-file")
        return replace(asked, key=known.key, later_keys=known.later_keys)
    try:
        keys = disclose(asked.envelope, passphrase, asked.id)
    except WrongPassphrase:
        raise NoKey(f"that is not the passphrase of {called}") from None
    except BadEnvelope as error:
        raise Unusable(f"{called} can't be opened: {error}") from None
    told = replace(asked, key=keys.pop(FIRST_KEY), later_keys=keys)
    return told if known is None else keeping(told, known)
