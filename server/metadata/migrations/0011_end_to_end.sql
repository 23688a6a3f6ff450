-- Workspaces whose key the server does not have. They have no rows in workspace_keys, and their names, targets and
-- extended attributes are sealed texts (protocol/sealednames.py), names of up to 362 bytes.
ALTER TABLE workspaces ADD COLUMN envelope BLOB;  -- what members open with a passphrase (protocol/passphrase.py); or NULL
