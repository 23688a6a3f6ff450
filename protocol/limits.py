"""Every bound that both ends must agree on, each with its reason."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

NAME_MAX_BYTES: Final = 255
"""Linux's NAME_MAX; longer names can't reach us through a mount."""

SEALED_NAME_MAX_BYTES: Final = 362
"""Of an end-to-end workspace: NAME_MAX_BYTES and 16 more, in base64. The same for an extended attribute's name."""

SYMLINK_MAX_BYTES: Final = 4095
"""PATH_MAX less its NUL: what the kernel hands to symlink(2)."""

XATTR_NAME_MAX_BYTES: Final = 255
XATTRS_MAX_BYTES: Final = 64 * KIB
"""Names and values of one node together; Linux allows 64 KiB for one value. They travel with the node."""

BLOCK_MIN_BYTES: Final = 256 * KIB
BLOCK_MAX_BYTES: Final = 4 * MIB
"""Plain bytes of one block. FastCDC never cuts longer ones."""

SEALED_OVERHEAD_BYTES: Final = 64
"""More than header, nonce and tag of a sealed block take."""

SEALED_MAX_BYTES: Final = BLOCK_MAX_BYTES + SEALED_OVERHEAD_BYTES

INLINE_SEALED_BYTES: Final = 64 * KIB
"""Sealed blocks up to this size travel in the commit and live in the metadata database: one fsync a small file."""

MANIFEST_MAX_PIECES: Final = 400_000
"""16 MB of manifest: about 370 GiB of content. A larger file is refused with EFBIG."""

INLINE_MANIFEST_PIECES: Final = 16
"""Manifests up to this long travel with their node; longer ones are asked for when the file is opened."""

BATCH_MAX_CHANGES: Final = 256
BATCH_MAX_INLINE_BYTES: Final = 4 * MIB
"""A batch of changes is one transaction: these keep it below some tens of milliseconds."""

CHANGES_BODY_MAX_BYTES: Final = 40 * MIB
"""A batch whose commits name the longest manifests allowed."""

LISTING_PAGE_ENTRIES: Final = 1_000
CHANGES_PAGE: Final = 1_000
ITEMS_PAGE: Final = 200
"""Items, versions or changes in a page for people and scripts, unless they ask for another number; each has paths, of
a hundred bytes mostly."""
ITEMS_PAGE_MAX: Final = 1_000
SEARCH_MAX_BYTES: Final = 255
"""As a name: no more can be part of one."""
NEWS_MAX_CHANGES: Final = 10_000
"""A session that is further behind is told to drop everything: that is shorter than the list."""

READ_MANY_BLOCKS: Final = 64
READ_MANY_BYTES: Final = 8 * MIB
"""One answer of several blocks; the server stops before the block that would pass it."""

MISSING_QUERY_BLOCKS: Final = 4_096
POLL_MAX_S: Final = 60.0

LEASE_DRIFT: Final = 0.01
"""How much faster one machine's clock may run than another's: a mount counts its lease shorter by this part, a server
longer."""

LEASE_MAX_S: Final = 15.0
NO_PROGRESS_S: Final = 20.0
"""A request on which no byte moves for so long is given up. A server thinks for a lease (LEASE_MAX_S) at the most,
while it waits for a mount that was cut off."""


PASSWORD_MAX_BYTES: Final = 1_024
PASSPHRASE_MIN_CHARS: Final = 12
"""Whoever has the server's database can try passphrases for as long as he likes."""

KEYS_MAX: Final = 256
"""Of one workspace: one a month for twenty years. All of them travel with each answer that has a workspace's keys."""

ENVELOPE_MAX_BYTES: Final = 32 * KIB
"""KEYS_MAX wrapped keys, in base64, and how they open."""

DEVICE_NAME_MAX_CHARS: Final = 64
WORKSPACE_NAME_MAX_CHARS: Final = 64
USER_NAME_MAX_CHARS: Final = 64
