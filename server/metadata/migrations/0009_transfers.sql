-- Contents that come in several requests, each of which any server may take (tus). The blocks that are cut already are the
-- workspace's; the bytes after them stay here until more has come.
CREATE TABLE transfers (
    workspace   TEXT    NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    id          TEXT    NOT NULL,                -- 32 random hexadecimal digits
    user_id     TEXT    NOT NULL,                -- whose it is: for others it isn't there
    length      INTEGER,                         -- plain bytes of the whole; NULL: the client doesn't know yet
    received    INTEGER NOT NULL,                -- plain bytes from the beginning that are kept
    cut_bytes   INTEGER NOT NULL,                -- of these, those in blocks; the others are in transfer_tails
    cut_pieces  INTEGER NOT NULL,                -- how many blocks that are
    turn        INTEGER NOT NULL,                -- of the request that began last: no other may add to it
    metadata    TEXT    NOT NULL,                -- Upload-Metadata as it came
    concat      TEXT,                            -- Upload-Concat as it came; NULL: neither a part nor made of parts
    etag        TEXT,                            -- of the version that it became; NULL: of none yet
    expires_ns  INTEGER NOT NULL,                -- by the server's clock
    PRIMARY KEY (workspace, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX transfers_by_expiry ON transfers (expires_ns);
CREATE INDEX transfers_unfinished ON transfers (workspace, user_id) WHERE etag IS NULL;

CREATE TABLE transfer_blocks (                   -- runs of blocks, in the order in which they were recorded
    workspace TEXT    NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    transfer  TEXT    NOT NULL,
    start     INTEGER NOT NULL,                  -- plain bytes before it
    manifest  BLOB    NOT NULL,                  -- protocol/manifest.py
    PRIMARY KEY (workspace, transfer, start)
) STRICT;

CREATE TABLE transfer_tails (                    -- what isn't cut yet, sealed like blocks and known to nobody else
    workspace TEXT    NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    transfer  TEXT    NOT NULL,
    start     INTEGER NOT NULL,                  -- plain bytes before it
    id        BLOB    NOT NULL,                  -- keyed hash of the plain bytes
    sealed    BLOB    NOT NULL,
    PRIMARY KEY (workspace, transfer, start)
) STRICT;
