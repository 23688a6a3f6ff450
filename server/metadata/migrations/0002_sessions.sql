-- Mounts that may hold a lease. A row is there before the first lease is given, so that a restarted server knows for whom
-- it has to wait; acknowledgements and renewals are in memory alone (server/leases.py).
CREATE TABLE sessions (
    workspace TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    session   BLOB NOT NULL,                     -- 16 random bytes: one mount from its start to its end
    device    TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    journal   BLOB NOT NULL,                     -- whose changes it sends
    lease_s   REAL NOT NULL,                     -- the longest lease that it was given
    PRIMARY KEY (workspace, session)
) STRICT;
