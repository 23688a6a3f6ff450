"""The daemon: metadata, blocks, the change feed, and HTTP. It must not import ``backend`` or ``fs``."""
