-- Workspaces whose key the server does not have: wrapped_key is then what their members open with a passphrase
-- (protocol/passphrase.py), and names, targets and extended attributes are sealed texts (protocol/sealednames.py), names
-- of up to 362 bytes.
ALTER TABLE workspaces ADD COLUMN end_to_end INTEGER NOT NULL DEFAULT 0;    -- 1: it is one of these
