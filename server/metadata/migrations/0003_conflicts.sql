-- A workspace's conflict copies, and those of one node.
CREATE INDEX nodes_by_conflict ON nodes (workspace, conflict_of) WHERE conflict_of IS NOT NULL;
