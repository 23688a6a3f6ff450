-- A workspace's keys: a rotation adds one, and none goes. Each block's header names the one that it is sealed under.
CREATE TABLE workspace_keys (
    workspace TEXT    NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    id        INTEGER NOT NULL,                  -- from 1 without gaps
    wrapped   BLOB    NOT NULL,                  -- under the server's master key
    made_ns   INTEGER NOT NULL,                  -- by the server's clock
    PRIMARY KEY (workspace, id)
) STRICT, WITHOUT ROWID;
INSERT INTO workspace_keys (workspace, id, wrapped, made_ns)
    SELECT id, key_id, wrapped_key, created_ns FROM workspaces;
ALTER TABLE workspaces DROP COLUMN wrapped_key;  -- key_id stays: the last key's, which seals
ALTER TABLE workspaces ADD COLUMN block_count INTEGER NOT NULL DEFAULT 0;  -- of its blocks
ALTER TABLE workspaces ADD COLUMN old_blocks INTEGER NOT NULL DEFAULT 0;   -- of these, under another key than the last
UPDATE workspaces SET block_count = (SELECT count(*) FROM blocks WHERE workspace = workspaces.id);
ALTER TABLE blocks ADD COLUMN key_id INTEGER NOT NULL DEFAULT 1;           -- as the sealed block's header has it

CREATE TABLE spare_objects (                     -- objects of the block store that no row of blocks names
    workspace TEXT    NOT NULL,
    object    TEXT    NOT NULL,
    doomed    INTEGER NOT NULL,                  -- 0: it is being stored, a block's soon; 1: it is to be deleted
    PRIMARY KEY (workspace, object)
) STRICT, WITHOUT ROWID;
