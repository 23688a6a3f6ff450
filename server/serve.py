"""One server process: opens the engines, makes the first user, listens, and stops gracefully.

Owns the data folder while it runs (``DATA/lock``) and ``DATA/address``, which says where it listens.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio
from hypercorn.config import Config

from protocol.keys import WrongKey
from protocol.limits import PASSWORD_MAX_BYTES
from server import connections, masterkey, resealing, worker
from server.app import create_app
from server.blockcare import WORKERS, BlockCare
from server.blockstore.engines import open_block_store
from server.blockstore.store import BlockStore, BlockStoreError
from server.config import BadSettings, Settings
from server.keyring import write_secret
from server.leases import Leases
from server.metadata import accounts, sessions
from server.metadata.engines import open_store
from server.metadata.store import MetadataStore, StoreError
from server.notifier import Notifier
from server.passwords import Passwords
from server.routes.accounts import new_user
from server.service import Service
from server.space import Space, free_bytes_of
from server.worker import Retention

ADMIN: Final = "admin"
_ADDRESS: Final = "address"

_UNTAKEN_MS: Final = 30_000
"""How long a client may take nothing of what it was sent; below ``TimeoutStopSec`` of deploy/samedrive.service."""

log = structlog.get_logger()


class CannotServe(Exception):
    """The server can't start; the message says why and what to do."""


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; raises CannotServe and BadSettings."""
    _configure_log()
    with _data_folder(settings), _listener(settings) as listener:
        trio.run(_serve, settings, listener)


def rotate_master_key(settings: Settings) -> int:
    """Wrap all keys under a new master key, while no server runs; raises CannotServe and BadSettings.

    Returns how many keys these are.
    """

    async def rotate() -> int:
        async with _metadata_store(settings) as metadata:
            return await masterkey.rotate(settings.data, metadata)

    _configure_log()
    if not any((settings.data / name).exists() for name in (masterkey.FILE, masterkey.NEXT)):
        raise CannotServe(f"there is no server's data in {settings.data}")
    with _data_folder(settings):
        return trio.run(rotate)


def _configure_log() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.ExceptionRenderer(),
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@contextmanager
def _data_folder(settings: Settings) -> Iterator[None]:
    """Held by this process alone; what the engines and the disk raise becomes CannotServe."""
    os.umask(0o077)  # Whatever is written below the data folder is the server's alone.
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(settings.data):
            yield
    except OSError as error:
        raise CannotServe(f"{error.filename or settings.data}: {error.strerror or error}") from error
    except (StoreError, WrongKey, BlockStoreError) as error:
        raise CannotServe(str(error)) from error


async def _serve(settings: Settings, listener: socket.socket) -> None:
    config = _hypercorn(settings)
    store = _block_store(settings)
    async with _metadata_store(settings) as metadata:
        keyring = await masterkey.keyring_of(settings.data, metadata)
        space = Space(store.free_bytes, partial(free_bytes_of, settings.data))
        notifier = Notifier()
        leases = Leases(settings.lease_s, nudge=notifier.nudge)
        leases.recover(await metadata.read(sessions.all_of))
        service = Service(
            metadata=metadata,
            blocks=BlockCare(store, metadata, keyring, trio.CapacityLimiter(WORKERS), space),
            keyring=keyring,
            passwords=Passwords(),
            notifier=notifier,
            leases=leases,
            now_ns=time.time_ns,
        )
        await _first_user(service, settings)
        retention = Retention(settings.keep_changes_days, audit_days=settings.keep_audit_days)
        async with trio.open_nursery() as housekeeping:
            housekeeping.start_soon(worker.run, service, retention)
            housekeeping.start_soon(resealing.run, service)
            await _answer_requests(service, settings, config, listener)
            housekeeping.cancel_scope.cancel()
    (settings.data / _ADDRESS).unlink(missing_ok=True)
    log.info("stopped")


async def _answer_requests(service: Service, settings: Settings, config: Config, listener: socket.socket) -> None:
    """Until a signal, and then until open requests are finished."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, service.notifier, stop)
        await nursery.start(connections.serve, create_app(service), config, listener, stop)
        _announce(settings, listener)


def _hypercorn(settings: Settings) -> Config:
    config = Config()
    config.alpn_protocols = ["http/1.1"]
    config.keep_alive_max_requests = 1 << 60
    config.keep_alive_timeout = 120.0
    config.graceful_timeout = settings.grace_s
    config.include_server_header = False
    config.errorlog = None
    config.accesslog = None
    config.h11_max_incomplete_size = 64 * 1024
    config.max_app_queue_size = connections.QUEUED_PARTS
    if settings.tls_cert is not None:
        config.certfile, config.keyfile = str(settings.tls_cert), str(settings.tls_key)
        try:
            config.create_ssl_context()
        except OSError as error:
            raise CannotServe(
                f"the certificate {settings.tls_cert} and the key {settings.tls_key} can't be used: {error}"
            ) from error
    return config


async def _stop_on_signal(notifier: Notifier, stop: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            log.info("stopping: open requests finish")
            notifier.stop()
            stop.set()
            return


async def _first_user(service: Service, settings: Settings) -> None:
    """On an empty data folder: the user ``admin``, with the password from the file that was named, or a random one."""
    if await service.metadata.read(accounts.has_users):
        return
    if settings.admin_password_file is not None:
        password = _password_in(settings.admin_password_file)
    else:
        password = secrets.token_urlsafe(18)
        write_secret(settings.data / "admin-password", f"{password}\n".encode())
    password_hash = await service.passwords.hash(password)
    await service.metadata.write(lambda tx: new_user(tx, service, ADMIN, password_hash, is_admin=True))


def _password_in(file: Path) -> str:
    try:
        password = file.read_text().rstrip("\r\n")
    except UnicodeDecodeError:
        raise CannotServe(f"{file} is not a text: it must hold the password of {ADMIN!r}") from None
    if not 0 < len(password.encode()) <= PASSWORD_MAX_BYTES:
        raise CannotServe(f"{file} must hold the password of {ADMIN!r}: 1 to {PASSWORD_MAX_BYTES} bytes")
    return password


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    with (data / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotServe(
                f"another server is using {data}: stop it, or give this one a folder of its own"
            ) from None
        yield


def _listener(settings: Settings) -> socket.socket:
    host, port = settings.address
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotServe(f"can't listen on {settings.listen}: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by connections: one whose client is gone, or takes nothing, ends by itself (tcp(7)). Without it a
        # half-sent answer would hold its memory, and the server when it stops, for as long as the kernel tries.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNTAKEN_MS)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise CannotServe(
            f"can't listen on {settings.listen}: {error.strerror}; give another address with --listen"
        ) from None
    listener.setblocking(False)
    return listener


def _announce(settings: Settings, listener: socket.socket) -> None:
    """Say that requests are answered: on standard output, in DATA/address, and to systemd (sd_notify(3))."""
    host, port = listener.getsockname()[:2]
    scheme = "http" if settings.tls_cert is None else "https"
    url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    written = settings.data / f"{_ADDRESS}.new"
    written.write_text(f"{url}\n")
    written.rename(settings.data / _ADDRESS)
    print(f"samedrive: serving {url}, data in {settings.data}", flush=True)
    if notify := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.connect("\0" + notify[1:] if notify.startswith("@") else notify)
            systemd.send(b"READY=1")


def _block_store(settings: Settings) -> BlockStore:
    try:
        return open_block_store(settings.blocks_url or (settings.data / "blocks").as_uri())
    except ValueError as error:
        raise BadSettings(str(error)) from None


def _metadata_store(settings: Settings) -> MetadataStore:
    try:
        return open_store(
            settings.metadata_url or (settings.data / "metadata.sqlite").as_uri().replace("file", "sqlite", 1)
        )
    except ValueError as error:
        raise BadSettings(str(error)) from None
