-- Files that were made for a content that is still on its way to the server itself. A mount's pending files have no row.
CREATE TABLE uploads (
    workspace  TEXT    NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    node       INTEGER NOT NULL,
    device     TEXT    NOT NULL,                 -- whose token it came with
    folders    BLOB    NOT NULL,                 -- MessagePack list: those made on the way to it, the last first
    expires_ns INTEGER NOT NULL,                 -- by the server's clock: then the file goes, if it is still pending
    PRIMARY KEY (workspace, node)
) STRICT;
CREATE INDEX uploads_by_expiry ON uploads (expires_ns);
