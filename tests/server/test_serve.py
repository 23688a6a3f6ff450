"""The daemon as a process: first start, ports, TLS, stopping, and whatever comes at its port."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import json
import os
import re
import secrets
import select
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from protocol.limits import SEALED_MAX_BYTES

ROOT = Path(__file__).parents[2]
START = "from cli.serve import serve_command; serve_command()"
DEADLINE_S = 60.0


class Server:
    """A server in a process of its own, on a free port."""

    def __init__(self, data: Path, *flags: str, verify: ssl.SSLContext | bool = True, **environment: str) -> None:
        self.data = data
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, "--data", str(data), "--listen", "127.0.0.1:0", *flags],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(data.parent), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        match = re.fullmatch(r"samedrive: serving (https?://127\.0\.0\.1:(\d+)), data in (.*)\n", self.said)
        if match is None:
            self.stop()
            raise AssertionError(f"{self.said!r} {self.errors}")
        self.url, self.port, said_data = match[1], int(match[2]), match[3]
        assert said_data == str(data)
        self.http = httpx.Client(base_url=f"{self.url}/v1", verify=verify, trust_env=False, timeout=DEADLINE_S)

    def login(self, password: str | None = None) -> None:
        """Speak as admin from now on."""
        password = password or (self.data / "admin-password").read_text().strip()
        answer = self.http.post("/login", json={"user": "admin", "password": password, "device": "test"})
        assert answer.status_code == 200, answer.text
        self.http.headers["Authorization"] = f"Bearer {answer.json()['token']}"

    def workspace(self) -> str:
        """The path of the default workspace."""
        [found] = self.http.get("/workspaces").json()["workspaces"]
        assert (found["name"], found["role"], found["default"]) == ("home", "owner", True)
        return f"/workspaces/{found['id']}"

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        _, self.errors = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode

    def close(self) -> None:
        """End it in whatever state it is."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.http.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "data")
    yield made
    made.close()


def _refused(data: Path, *flags: str) -> str:
    """What a server that does not start says; it must be one line."""
    done = subprocess.run(
        [sys.executable, "-c", START, "--data", str(data), *flags],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(data.parent)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode != 0
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def _is_alive(server: Server) -> None:
    assert server.http.get("/health").json()["program"] == "samedrive"


def _connected(server: Server) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_S)
    made.settimeout(DEADLINE_S)
    return made


def _everything(connection: socket.socket) -> bytes:
    """What comes until the other end closes, or resets."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


# ── the first start ──


def test_the_first_start_makes_the_admin_whose_password_only_its_owner_reads(server: Server) -> None:
    for name in ("admin-password", "master-key"):
        assert (server.data / name).stat().st_mode & 0o777 == 0o600
    assert server.data.stat().st_mode & 0o777 == 0o700
    server.login()
    server.workspace()
    assert (server.data / "address").read_text() == f"{server.url}\n"


def test_the_admins_password_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from a file\n")
    server = Server(tmp_path / "data", "--admin-password-file", str(file))
    try:
        server.login("from a file")
        assert not (server.data / "admin-password").exists()
    finally:
        server.close()


def test_what_was_made_is_there_at_the_next_start(tmp_path: Path) -> None:
    first = Server(tmp_path / "data")
    try:
        first.login()
        workspace, headers = first.workspace(), first.http.headers
        assert first.stop() == 0
        assert not (first.data / "address").exists()
    finally:
        first.close()
    second = Server(tmp_path / "data")
    try:
        second.http.headers = headers
        assert second.workspace() == workspace
    finally:
        second.close()


def test_readiness_is_told_to_systemd(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(DEADLINE_S)
        server = Server(tmp_path / "data", NOTIFY_SOCKET=str(tmp_path / "notify"))
        try:
            assert systemd.recv(100) == b"READY=1"
        finally:
            server.close()


def test_settings_come_from_a_file_too(tmp_path: Path) -> None:
    blocks = tmp_path / "the blocks"
    file = tmp_path / "server.toml"
    file.write_text(f'blocks-url = "{blocks.as_uri()}"\n')
    server = Server(tmp_path / "data", "--config", str(file))
    try:
        assert (blocks / "ff").is_dir()
    finally:
        server.close()


# ── refused ──


def test_two_servers_do_not_share_a_data_folder(server: Server) -> None:
    assert "another server is using" in _refused(server.data, "--listen", "127.0.0.1:0")
    _is_alive(server)


def test_a_port_that_is_taken_is_named(server: Server, tmp_path: Path) -> None:
    said = _refused(tmp_path / "other", "--listen", f"127.0.0.1:{server.port}")
    assert f"127.0.0.1:{server.port}" in said
    assert "--listen" in said


def test_listening_beyond_loopback_without_tls_is_refused(tmp_path: Path) -> None:
    assert "--insecure-listen" in _refused(tmp_path / "data", "--listen", "0.0.0.0:0")


def test_a_lost_master_key_is_not_replaced(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    try:
        server.stop()
    finally:
        server.close()
    (tmp_path / "data/master-key").unlink()
    assert "master-key is missing" in _refused(tmp_path / "data", "--listen", "127.0.0.1:0")
    assert not (tmp_path / "data/master-key").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--metadata-url", "mysql://x"), "no metadata store"),
        (("--blocks-url", "ftp://x"), "no block store"),
        (("--blocks-url", "file:///proc/none"), "/proc/none"),
        (("--listen", "no.such.host.invalid:0", "--insecure-listen"), "can't listen"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, flags: tuple[str, ...], said: str) -> None:
    if "--listen" not in flags:
        flags = ("--listen", "127.0.0.1:0", *flags)
    assert said in _refused(tmp_path / "data", *flags)


def test_a_data_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    assert str(tmp_path / "data") in _refused(tmp_path / "data", "--listen", "127.0.0.1:0")


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert", tmp_path / "key"
    cert.write_text("nonsense")
    key.write_text("nonsense")
    flags = ("--listen", "127.0.0.1:0", "--tls-cert", str(cert), "--tls-key", str(key))
    assert str(cert) in _refused(tmp_path / "data", *flags)


# ── TLS ──


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


def test_tls(tmp_path: Path) -> None:
    cert, key = _certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(cert))
    server = Server(tmp_path / "data", "--tls-cert", str(cert), "--tls-key", str(key), verify=trusting)
    try:
        assert server.url.startswith("https:")
        server.login()
        assert server.http.get("/workspaces").http_version == "HTTP/1.1"
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"), httpx.Client() as doubting:
            doubting.get(f"{server.url}/v1/health")
        with _connected(server) as plain:
            plain.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"samedrive" not in _everything(plain)
        _is_alive(server)
    finally:
        server.close()


# ── stopping ──


def test_polls_return_and_idle_connections_close_when_it_stops(server: Server) -> None:
    server.login()
    path = f"{server.workspace()}/changes?after=0&wait_s=60"
    with ThreadPoolExecutor(1) as pool, _connected(server) as idle:
        idle.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        poll = pool.submit(server.http.get, path)
        _until_asleep(server)
        assert server.stop() == 0
        assert poll.result().json() == {"notices": {"seq": 0}}
        _everything(idle)
    assert "Traceback" not in server.errors


def test_an_open_request_finishes_when_it_stops(server: Server) -> None:
    server.login()
    body = b'{"name": "made while stopping"}'
    head = (
        f"POST /v1/workspaces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: {server.http.headers['Authorization']}\r\nContent-Length: {len(body)}\r\n"
        "Expect: 100-continue\r\n\r\n"
    )
    with _connected(server) as half:
        half.sendall(head.encode())
        assert b"100" in half.recv(65536)
        server.process.send_signal(signal.SIGTERM)
        assert _line_of(server, "stopping")
        half.sendall(body)
        assert b"HTTP/1.1 201" in _everything(half)
    assert server.process.wait(DEADLINE_S) == 0


def test_a_request_that_never_ends_is_cut_when_the_grace_is_over(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", "--grace-s", "0.2")
    try:
        server.login()
        with _connected(server) as half:
            half.sendall(
                f"POST /v1/workspaces HTTP/1.1\r\nHost: x\r\nAuthorization: {server.http.headers['Authorization']}\r\n"
                "Content-Length: 10\r\nExpect: 100-continue\r\n\r\n".encode()
            )
            assert b"100" in half.recv(65536)
            assert server.stop() == 0
    finally:
        server.close()


def _until_asleep(server: Server) -> None:
    """Until a connection that was just sent a request waits: those that are sent after it are answered meanwhile."""
    with httpx.Client(base_url=f"{server.url}/v1", headers=server.http.headers, trust_env=False) as other:
        for _ in range(20):
            other.get("/workspaces")


def _line_of(server: Server, said: str) -> bool:
    assert server.process.stderr is not None
    while select.select([server.process.stderr], [], [], DEADLINE_S)[0]:
        line = server.process.stderr.readline()
        if said in line or not line:
            return said in line
    return False


# ── content without a mount ──


def test_a_long_content_goes_in_and_out_in_little_memory(server: Server) -> None:
    server.login()
    path = f"{server.workspace()}/files/long"
    part, parts = secrets.token_bytes(1 << 20), 300

    def body() -> Iterator[bytes]:
        for number in range(parts):
            yield number.to_bytes(8, "big") + part[8:]

    assert server.http.put(path, content=body()).status_code == 201
    sent, came = hashlib.sha256(), hashlib.sha256()
    for one in body():
        sent.update(one)
    with server.http.stream("GET", path) as answer:
        for one in answer.iter_raw():
            came.update(one)
    assert came.digest() == sent.digest()
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak is not None
    assert int(peak[1]) < 200 * 1024


def test_an_upload_whose_client_goes_away_leaves_nothing(server: Server) -> None:
    server.login()
    workspace = server.workspace()

    def told(after: int) -> str:
        [notice] = server.http.get(f"{workspace}/changes?after={after}&wait_s=60").json()["notices"]["notices"]
        return str(notice["what"])

    with _connected(server) as connection:
        connection.sendall(
            f"PUT /v1{workspace}/files/half HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: {server.http.headers['Authorization']}\r\nContent-Length: 3000000\r\n\r\n".encode()
            + bytes(1_000_000)
        )
        assert told(0) == "create"
    assert told(1) == "unlink"
    assert server.stop() == 0
    assert "Traceback" not in server.errors


# ── whatever comes ──


def test_a_connection_that_its_client_closes_is_closed(server: Server) -> None:
    with _connected(server) as connection:
        connection.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        _until_asleep(server)
        connection.shutdown(socket.SHUT_WR)
        _everything(connection)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\xfe" * 1000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/health HTTP/1.1\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /v1/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /v1/health HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
    ],
    ids=lambda garbage: repr(bytes(garbage[:24])),
)
def test_garbage_on_the_port_is_survived(server: Server, garbage: bytes) -> None:
    with _connected(server) as connection:
        try:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
        except (ConnectionResetError, BrokenPipeError, OSError):
            pass  # It has seen enough.
        _everything(connection)
    _is_alive(server)
    assert server.stop() == 0
    assert "Traceback" not in server.errors


@pytest.mark.parametrize(
    "asked",
    [
        b"GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=["upgrade", "prior knowledge"],
)
def test_http_2_is_not_spoken(server: Server, asked: bytes) -> None:
    with _connected(server) as connection:
        connection.sendall(asked)
        connection.shutdown(socket.SHUT_WR)
        assert _everything(connection).startswith((b"HTTP/1.1 200", b"HTTP/1.1 4"))


def test_a_client_that_goes_away_in_a_body_is_survived(server: Server) -> None:
    server.login()
    with _connected(server) as connection:
        connection.sendall(
            f"POST /v1/workspaces HTTP/1.1\r\nHost: x\r\nAuthorization: {server.http.headers['Authorization']}\r\n"
            'Content-Length: 100\r\n\r\n{"name":'.encode()
        )
    _is_alive(server)
    assert server.stop() == 0
    assert "Traceback" not in server.errors


def test_a_refused_body_is_answered_and_the_connection_cut_or_usable(server: Server) -> None:
    """The answer arrives although the client goes on sending: 8 MiB are more than any buffer holds."""
    server.login()
    path = f"{server.workspace()}/blocks/{'00' * 32}"
    answer = server.http.put(path, content=bytes(2 * SEALED_MAX_BYTES))
    assert json.loads(answer.content)["code"] == "body-too-large"
    server.http.headers["Authorization"] = "Bearer nobody"
    answer = server.http.put(path, content=bytes(SEALED_MAX_BYTES))
    assert json.loads(answer.content)["code"] == "unauthorized"
    _is_alive(server)


def test_a_body_that_is_never_sent_holds_no_connection_after_its_refusal(server: Server) -> None:
    with _connected(server) as connection:
        connection.sendall(b"POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        answer = _everything(connection)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"body-too-large" in answer
