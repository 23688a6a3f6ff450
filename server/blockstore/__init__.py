"""Where sealed blocks lie: one interface, an engine a file, chosen by URL."""
