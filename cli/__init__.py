"""The commands. Each module is one noun; ``mount.py`` builds the program from them."""
