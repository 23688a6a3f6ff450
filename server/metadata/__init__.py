"""Everything that knows SQL. One synchronous function a transaction; ``store`` runs them."""
