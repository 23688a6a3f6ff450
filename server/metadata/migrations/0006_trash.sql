-- The trash, newest first, and what was removed from one folder.
ALTER TABLE nodes ADD COLUMN removed_seq INTEGER;    -- of an unlinked node: the change that took its last entry; 0: before this
UPDATE nodes SET removed_seq = 0 WHERE nlink = 0;
CREATE INDEX nodes_removed ON nodes (workspace, removed_seq, id) WHERE nlink = 0;
CREATE INDEX nodes_removed_from ON nodes (workspace, last_parent, removed_seq, id) WHERE nlink = 0;
