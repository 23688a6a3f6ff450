"""Content without a mount, over loopback to a server in a process of its own: prints figures.

    python -m benchmarks.api                      512 MiB up and down, 2,000 small files
    python -m benchmarks.api --mib 128 --files 400

The client is as cheap as can be, so that the server is measured: it sends a file with sendfile(2) and drops what it
receives, on the same cores. Content can't be compressed and is new to the server. An upload counts until it is
answered: then it is durable and committed. Small files are uploaded by ``--parallel`` connections at once.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
MIB: Final = 1 << 20
START: Final = "from cli.serve import serve_command; serve_command()"


class Server:
    """A server on a new data folder."""

    def __init__(self, data: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, "--data", str(data), "--listen", "127.0.0.1:0"],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        said = re.search(r"serving http://127\.0\.0\.1:(\d+)", self.process.stdout.readline())
        assert said is not None
        self.port = int(said[1])
        password = (data / "admin-password").read_text().strip()
        login = json.dumps({"user": "admin", "password": password, "device": "bench"}).encode()
        self.token = self._json("/login", login)["token"]
        [workspace] = self._json("/workspaces")["workspaces"]
        self.path = f"/v1/workspaces/{workspace['id']}/files"

    def _json(self, path: str, body: bytes | None = None) -> dict[str, object]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1{path}", body)
        request.add_header("Content-Type", "application/json")
        if body is None:
            request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request) as answer:
            found: dict[str, object] = json.load(answer)
            return found

    def memory_bytes(self) -> int:
        """The most that it had at once."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) << 10

    def cpu_s(self) -> float:
        """Processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """And wait for it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)


class Connection:
    """One, for requests one after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._socket = socket.create_connection(("127.0.0.1", server.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def put(self, name: str, body: bytes | Path) -> None:
        """Upload."""
        size = len(body) if isinstance(body, bytes) else body.stat().st_size
        head = self._head("PUT", name, f"Content-Length: {size}\r\n")
        if isinstance(body, bytes):
            self._socket.sendall(head + body)
        else:
            self._socket.sendall(head)
            with body.open("rb") as file:
                self._socket.sendfile(file)
        self._answer()

    def get(self, name: str) -> int:
        """Download; returns how many bytes came."""
        self._socket.sendall(self._head("GET", name, ""))
        return self._answer()

    def _head(self, method: str, name: str, more: str) -> bytes:
        return (
            f"{method} {self._server.path}/{name} HTTP/1.1\r\nHost: bench\r\n"
            f"Authorization: Bearer {self._server.token}\r\n{more}\r\n"
        ).encode()

    def _answer(self) -> int:
        """Take an answer, which has a Content-Length, and return that."""
        buffer = bytearray(MIB)
        head = b""
        while b"\r\n\r\n" not in head:
            part = self._socket.recv(65536)
            assert part, "the server has closed the connection"
            head += part
        head, _, begun = head.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        assert status < 300, (head, begun)
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        assert length is not None
        left = int(length[1]) - len(begun)
        while left:
            left -= self._socket.recv_into(buffer)
        return int(length[1])


@contextmanager
def measured(server: Server, what: str, amount: float, unit: str) -> Iterator[None]:
    """Print what a piece of work took."""
    cpu_s, began_s = server.cpu_s(), time.monotonic()
    yield
    took_s = time.monotonic() - began_s
    cpu_s = server.cpu_s() - cpu_s
    per = "MB" if unit == "MB/s" else "file"
    print(
        f"{what:32} {amount / took_s:8.1f} {unit:8}  server: {1000 * cpu_s / amount:6.2f} ms a {per},"
        f" {100 * cpu_s / took_s:3.0f} % of one core"
    )


def small_files(server: Server, files: int, parallel: int, size_bytes: int) -> None:
    """Each of so many connections uploads its share, one file after the other."""

    def work(first: int) -> None:
        connection = Connection(server)
        for number in range(first, files, parallel):
            connection.put(f"small-{number}", secrets.token_bytes(size_bytes))

    threads = [threading.Thread(target=work, args=(first,)) for first in range(parallel)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--parallel", type=int, default=32)
    parser.add_argument("--folder", type=Path, help="where the server's data goes (default: a temporary folder)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        large = Path(folder) / "large"
        with large.open("wb") as file:
            for _ in range(asked.mib):
                file.write(secrets.token_bytes(MIB))
        megabytes = asked.mib * MIB / 1e6
        server = Server(Path(folder) / "data")
        try:
            connection = Connection(server)
            for again in ("", ", again (nothing is stored)"):
                with measured(server, f"upload{again}", megabytes, "MB/s"):
                    connection.put("large", large)
            for _ in range(2):
                with measured(server, "download", megabytes, "MB/s"):
                    connection.get("large")
            with measured(server, f"3 KiB, {asked.parallel} at once", asked.files, "files/s"):
                small_files(server, asked.files, asked.parallel, 3072)
            print(f"the server's memory at its most: {server.memory_bytes() / MIB:.0f} MiB")
        finally:
            server.stop()


if __name__ == "__main__":
    main()
