"""Uploads a file with tuspy, as its README says. One argument: a JSON object; its keys are named below.

In a process of its own, so that it can be killed in the middle.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from tusclient import client
from tusclient.storage import filestorage


def main(options: dict[str, str | int | bool]) -> None:
    """``stop_at``: so many bytes are sent; then, with ``is_killed``, the process dies as by a power loss."""
    own = client.TusClient(options["endpoint"], headers={"Authorization": f"Bearer {options['token']}"})
    uploader = own.uploader(
        options["file"],
        chunk_size=options["chunk_bytes"],
        metadata=options["metadata"],
        upload_checksum=options.get("has_checksum", False),
        store_url=True,
        url_storage=filestorage.FileStorage(options["storage"]),
    )
    print("began at", uploader.offset)
    uploader.upload(options.get("stop_at"))
    print("stopped at", uploader.offset)
    if options.get("is_killed"):
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
