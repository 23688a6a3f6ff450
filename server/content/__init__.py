"""Plain content at the server: files read and written by who has no mount."""
