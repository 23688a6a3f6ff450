-- Which session has a journal: a batch of an earlier one, of a mount that was killed, can arrive after its successor began.
ALTER TABLE journals ADD COLUMN session BLOB;    -- NULL: none has taken it yet
