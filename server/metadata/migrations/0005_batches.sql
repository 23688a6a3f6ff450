-- The id of the last batch: numbers alone don't tell a batch that comes again from one of an earlier mount.
ALTER TABLE journals ADD COLUMN batch BLOB NOT NULL DEFAULT x'';    -- empty: unknown
