-- A device is what changes are made with: a login's, a script's token, or a link that takes uploads.
ALTER TABLE devices ADD COLUMN kind TEXT NOT NULL DEFAULT 'login';   -- login, token, link (which has no token)
ALTER TABLE devices ADD COLUMN scope TEXT;                           -- of a script's token: read, write
ALTER TABLE devices ADD COLUMN expires_ns INTEGER;                   -- of a script's token; NULL: never
ALTER TABLE devices ADD COLUMN workspaces BLOB;                      -- MessagePack list of ids; NULL: all of the user's

CREATE TABLE links (                             -- to a file or folder, for whoever has the secret
    workspace     TEXT    NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    id            TEXT    NOT NULL,              -- 16 hexadecimal digits, no secret
    secret_hash   BLOB    NOT NULL UNIQUE,       -- SHA-256 of the secret
    node          INTEGER NOT NULL,              -- follows the name when another file is renamed over it
    kind          TEXT    NOT NULL,              -- read, upload
    device        TEXT    NOT NULL REFERENCES devices (id) ON DELETE CASCADE,   -- what is uploaded is this one's
    made_by       TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,     -- it goes as far as their role does
    created_ns    INTEGER NOT NULL,
    expires_ns    INTEGER,                       -- NULL: never
    password_hash TEXT,                          -- PHC string of a memory-hard function; NULL: none is asked for
    transfers_max INTEGER,                       -- so many files may be fetched or brought; NULL: no bound
    transfers     INTEGER NOT NULL DEFAULT 0,
    uses          INTEGER NOT NULL DEFAULT 0,    -- every request that it let in
    used_ns       INTEGER NOT NULL DEFAULT 0,    -- the last one; 0: none yet
    PRIMARY KEY (workspace, id)
) STRICT;
CREATE INDEX links_by_node ON links (workspace, node);

-- Who did what that others may have to know of. Names are kept as they were: their bearers may be gone by now.
CREATE TABLE audit (
    id        INTEGER NOT NULL PRIMARY KEY,      -- in the order of events
    at_ns     INTEGER NOT NULL,                  -- by the server's clock
    what      TEXT    NOT NULL,                  -- protocol.messages.audit.What
    workspace TEXT,                              -- NULL: of no workspace
    user      TEXT    NOT NULL,                  -- a name; of a failed log-in, the one that was given
    device    TEXT    NOT NULL,                  -- a name
    address   TEXT    NOT NULL,                  -- where the request came from
    subject   TEXT    NOT NULL                   -- whom or what it was done to, for people
) STRICT;
CREATE INDEX audit_by_workspace ON audit (workspace, id);
CREATE INDEX audit_by_what ON audit (what, id);
