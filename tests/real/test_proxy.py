"""The proxy itself: what it counts and what it does to a connection."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, RemoteDisconnected
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.real.proxy import Request, RequestReader, Wire


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def wire() -> Iterator[Wire]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Wire(server.server_address[1]) as wire:
            yield wire
        server.shutdown()
        thread.join()


def put(connection: HTTPConnection, path: str, body: bytes) -> bytes:
    connection.request("PUT", path, body)
    return connection.getresponse().read()


def test_requests_of_one_connection_are_counted_one_by_one(wire: Wire) -> None:
    connection = HTTPConnection("127.0.0.1", wire.port, timeout=10)
    assert put(connection, "/blocks/1", b"GET / HTTP/1.1\r\n\r\n" * 1000) == b"GET / HTTP/1.1\r\n\r\n" * 1000
    put(connection, "/blocks/2", b"")
    connection.close()
    counts = wire.counts()
    assert counts.requests == [Request("PUT", "/blocks/1", 18_000), Request("PUT", "/blocks/2", 0)]
    assert counts.connections == 1
    assert 18_000 < counts.bytes_up < 19_000
    assert 18_000 < counts.bytes_down < 19_000


def test_a_megabyte_passes_whole(wire: Wire) -> None:
    body = bytes(range(256)) * 65536
    connection = HTTPConnection("127.0.0.1", wire.port, timeout=10)
    assert put(connection, "/", body) == body
    connection.close()


def test_a_round_trip_takes_its_time_and_a_handshake_one_more(wire: Wire) -> None:
    wire.set_rtt(0.1)
    connection = HTTPConnection("127.0.0.1", wire.port, timeout=10)
    took = []
    for _ in range(2):
        start = time.monotonic()
        put(connection, "/", b"x")
        took.append(time.monotonic() - start)
    connection.close()
    assert took[0] >= 0.2
    assert took[1] >= 0.1


def test_bandwidth_is_shared(wire: Wire) -> None:
    wire.set_bandwidth(1_000_000)
    connection = HTTPConnection("127.0.0.1", wire.port, timeout=10)
    start = time.monotonic()
    put(connection, "/", bytes(300_000))
    connection.close()
    # Up and down are two links of a megabyte a second, and the echo begins when all is there.
    assert 0.55 <= time.monotonic() - start < 2


def test_a_cut_link_ends_what_is_open_and_refuses_what_comes(wire: Wire) -> None:
    connection = HTTPConnection("127.0.0.1", wire.port, timeout=10)
    put(connection, "/", b"x")
    wire.cut()
    with pytest.raises((RemoteDisconnected, ConnectionError)):
        put(connection, "/", b"x")
    connection.close()
    with pytest.raises((RemoteDisconnected, ConnectionError)):
        put(connection, "/", b"x")
    connection.close()
    wire.heal()
    assert put(connection, "/", b"x") == b"x"
    connection.close()


def test_a_link_is_cut_in_the_middle_of_a_body(wire: Wire) -> None:
    wire.cut_after(1_000_000)
    connection = HTTPConnection("127.0.0.1", wire.port, timeout=10)
    with pytest.raises((RemoteDisconnected, ConnectionError)):
        put(connection, "/", bytes(20_000_000))
    connection.close()


def test_a_swallowing_link_ends_nothing_and_loses_nothing(wire: Wire) -> None:
    connection = HTTPConnection("127.0.0.1", wire.port, timeout=0.2)
    put(connection, "/", b"x")
    wire.swallow()
    connection.request("PUT", "/", b"late")
    assert connection.sock is not None
    with pytest.raises(TimeoutError):
        connection.sock.recv(1, socket.MSG_PEEK)
    wire.heal()
    connection.sock.settimeout(10)
    assert connection.getresponse().read() == b"late"
    connection.close()


def test_the_wait_ends_when_so_much_has_passed(wire: Wire) -> None:
    assert not wire.wait(requests=1, timeout_s=0.05)
    connection = HTTPConnection("127.0.0.1", wire.port, timeout=10)
    put(connection, "/", b"x")
    connection.close()
    assert wire.wait(requests=1, timeout_s=10)


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_heads_are_found_however_the_bytes_are_cut(step: int) -> None:
    stream = (
        b"POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
        b"PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nt: 1\r\n\r\n"
        b"GET /c?x=%2F HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    reader = RequestReader()
    found = [request for at in range(0, len(stream), step) for request in reader.feed(stream[at : at + step])]
    assert found == [Request("POST", "/a", 5), Request("PUT", "/b", 0), Request("GET", "/c?x=%2F", 0)]


def test_what_is_not_http_is_not_counted() -> None:
    reader = RequestReader()
    assert reader.feed(b"SSH-2.0-OpenSSH\r\n\r\n") == []
    assert reader.feed(b"GET / HTTP/1.1\r\n\r\n") == []
