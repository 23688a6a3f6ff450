-- Times are nanoseconds since 1970; ids of users, devices and workspaces 32 hexadecimal digits; names of entries bytes.
-- Every table of a workspace begins its key with the workspace, so that workspaces can be spread over databases.

CREATE TABLE users (
    id            TEXT    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL UNIQUE,
    password_hash TEXT    NOT NULL,              -- PHC string of a memory-hard function
    admin         INTEGER NOT NULL,              -- 1: may manage users
    created_ns    INTEGER NOT NULL
) STRICT;

CREATE TABLE devices (
    id         TEXT    NOT NULL PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name       TEXT    NOT NULL,                 -- unique per user: the same name again is the same device
    token_hash BLOB    UNIQUE,                   -- SHA-256 of the token; NULL once revoked
    created_ns INTEGER NOT NULL,
    seen_ns    INTEGER NOT NULL,                 -- last joined a workspace
    UNIQUE (user_id, name)
) STRICT;

CREATE TABLE workspaces (
    id          TEXT    NOT NULL PRIMARY KEY,
    owner_id    TEXT    NOT NULL REFERENCES users (id),
    name        TEXT    NOT NULL,                -- unique per owner
    wrapped_key BLOB    NOT NULL,                -- the workspace key under the server's master key
    key_id      INTEGER NOT NULL,
    quota_bytes INTEGER,                         -- sealed bytes that it may hold; NULL: no bound
    used_bytes  INTEGER NOT NULL DEFAULT 0,      -- sealed bytes of its blocks
    head_seq    INTEGER NOT NULL DEFAULT 0,      -- number of the last change
    node_count  INTEGER NOT NULL DEFAULT 1,      -- nodes that have an entry, and the root
    is_default  INTEGER NOT NULL,                -- 1: what its owner mounts where no name is given
    created_ns  INTEGER NOT NULL,
    UNIQUE (owner_id, name)
) STRICT;

CREATE TABLE members (
    workspace TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    user_id   TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role      TEXT NOT NULL,                     -- owner, editor, viewer
    PRIMARY KEY (workspace, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_by_user ON members (user_id);

CREATE TABLE nodes (
    workspace   TEXT    NOT NULL,
    id          INTEGER NOT NULL,                -- chosen by the mount that made it; 1 is the root
    kind        TEXT    NOT NULL,
    mode        INTEGER NOT NULL,                -- permission bits with suid, sgid, sticky
    uid         INTEGER NOT NULL,
    gid         INTEGER NOT NULL,
    rdev        INTEGER NOT NULL,
    nlink       INTEGER NOT NULL,                -- entries; of a folder, 2 and its subfolders; 0: unlinked
    mtime_ns    INTEGER NOT NULL,
    ctime_ns    INTEGER NOT NULL,
    atime_ns    INTEGER NOT NULL,
    birth_ns    INTEGER NOT NULL,                -- when the mount made it: tells a repeated create from a clash of ids
    target      BLOB,                            -- of a symlink
    xattrs      BLOB,                            -- MessagePack map of name to value; NULL: none
    version     INTEGER NOT NULL,                -- head version of a file; 0: none uploaded yet
    size        INTEGER NOT NULL,                -- of the head version; of a symlink, its target's length
    data_bytes  INTEGER NOT NULL,                -- of the head version, without holes
    pieces      INTEGER NOT NULL,                -- of the head version's manifest
    conflict_of INTEGER,                         -- the node whose compare-and-set this content lost
    generation  INTEGER NOT NULL DEFAULT 0,      -- of a folder: the change that last changed its entries
    last_parent INTEGER,                         -- of an unlinked node: where its last entry was
    last_name   BLOB,
    PRIMARY KEY (workspace, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE entries (
    workspace TEXT    NOT NULL,
    parent    INTEGER NOT NULL,
    name      BLOB    NOT NULL,                  -- 1 to 255 bytes
    node      INTEGER NOT NULL,
    PRIMARY KEY (workspace, parent, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX entries_by_node ON entries (workspace, node);

CREATE TABLE versions (
    workspace    TEXT    NOT NULL,
    node         INTEGER NOT NULL,
    number       INTEGER NOT NULL,               -- from 1 per node
    size         INTEGER NOT NULL,
    manifest     BLOB    NOT NULL,               -- protocol/manifest.py
    seq          INTEGER NOT NULL,               -- the change that committed it
    device       TEXT    NOT NULL,               -- by which device
    committed_ns INTEGER NOT NULL,               -- by the server's clock
    PRIMARY KEY (workspace, node, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE blocks (
    workspace    TEXT    NOT NULL,
    id           BLOB    NOT NULL,               -- keyed hash of the plain bytes
    object       TEXT,                           -- name in the block store; NULL: in block_data
    sealed_bytes INTEGER NOT NULL,
    plain_bytes  INTEGER NOT NULL,
    PRIMARY KEY (workspace, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE block_data (                        -- small blocks, apart so that scans of blocks stay short
    workspace TEXT NOT NULL,
    id        BLOB NOT NULL,
    sealed    BLOB NOT NULL,
    PRIMARY KEY (workspace, id)
) STRICT;

CREATE TABLE changes (                           -- the change log: seq without gaps
    workspace TEXT    NOT NULL,
    seq       INTEGER NOT NULL,
    at_ns     INTEGER NOT NULL,                  -- by the server's clock
    device    TEXT    NOT NULL,
    notice    BLOB    NOT NULL,                  -- MessagePack of protocol.messages.notices.Notice
    PRIMARY KEY (workspace, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE journals (                          -- streams of numbered changes; kept as long as the device
    workspace    TEXT    NOT NULL,
    device       TEXT    NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    journal      BLOB    NOT NULL,
    last_number  INTEGER NOT NULL,               -- of the last change applied
    first_number INTEGER NOT NULL,               -- of the last batch
    answers      BLOB    NOT NULL,               -- MessagePack list: the last batch's answers (see changes.py)
    acknowledged INTEGER NOT NULL,               -- cursor: the device has dropped what changes up to here outdated
    PRIMARY KEY (workspace, device, journal)
) STRICT, WITHOUT ROWID;
