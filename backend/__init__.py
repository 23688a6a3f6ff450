"""The client's side of the server: caches, dirty files, uploads and the change feed, without a kernel in sight.

``drive`` is the façade that ``fs`` mounts. Nothing here imports pyfuse3, and httpx only ``http`` does. Clock, disk,
network, threads and randomness come in through constructors.
"""
