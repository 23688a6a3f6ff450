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
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import structlog
import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hypercorn_serve

from protocol.keys import WrongKey
from server.app import create_app
from server.blockcare import WORKERS, BlockCare
from server.blockstore.store import BlockStore, open_block_store
from server.config import BadSettings, Settings
from server.keyring import load_or_create, write_secret
from server.metadata import accounts
from server.metadata.sqlite import SqliteStore
from server.metadata.store import StoreError
from server.notifier import Notifier
from server.passwords import Passwords
from server.routes.accounts import new_user
from server.service import Service

ADMIN: Final = "admin"
log = structlog.get_logger()


class CannotServe(Exception):
    """The server can't start; the message says why and what to do."""


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; raises CannotServe and BadSettings."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.ExceptionRenderer(),
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(settings.data), _listening(settings) as listener:
            trio.run(_serve, settings, listener)
    except OSError as error:
        raise CannotServe(f"{error.filename or settings.data}: {error.strerror}") from error
    except (StoreError, WrongKey) as error:
        raise CannotServe(str(error)) from error


async def _serve(settings: Settings, listener: socket.socket) -> None:
    keyring = load_or_create(settings.data / "master-key")
    store = _block_store(settings)
    async with SqliteStore(_database(settings)) as metadata:
        service = Service(
            metadata=metadata,
            blocks=BlockCare(store, metadata, keyring, trio.CapacityLimiter(WORKERS)),
            keyring=keyring,
            passwords=Passwords(),
            notifier=Notifier(),
            now_ns=time.time_ns,
        )
        await _first_user(service, settings)
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_on_signal, service.notifier, stop)
            await nursery.start(
                partial(
                    hypercorn_serve,
                    create_app(service),  # type: ignore[arg-type]
                    _hypercorn(settings, listener),
                    shutdown_trigger=stop.wait,
                    mode="asgi",
                )
            )
            _announce(settings, listener)
            await stop.wait()
        log.info("stopped")


def _hypercorn(settings: Settings, listener: socket.socket) -> Config:
    config = Config()
    config.bind = [f"fd://{os.dup(listener.fileno())}"]  # Hypercorn closes what it is given.
    config.alpn_protocols = ["http/1.1"]
    config.keep_alive_max_requests = 1 << 60
    config.keep_alive_timeout = 120.0
    config.graceful_timeout = settings.grace_s
    config.include_server_header = False
    config.errorlog = None
    config.accesslog = None
    config.h11_max_incomplete_size = 64 * 1024
    if settings.tls_cert is not None:
        config.certfile, config.keyfile = str(settings.tls_cert), str(settings.tls_key)
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
        password = settings.admin_password_file.read_text().rstrip("\n")
        if not password:
            raise CannotServe(f"{settings.admin_password_file} is empty: it must hold the password of {ADMIN!r}")
    else:
        password = secrets.token_urlsafe(18)
        write_secret(settings.data / "admin-password", f"{password}\n".encode())
    password_hash = await service.passwords.hash(password)
    await service.metadata.write(lambda tx: new_user(tx, service, ADMIN, password_hash, is_admin=True))


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


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    host, _, port = settings.listen.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1024)
            listener.setblocking(False)
            yield listener
    except (socket.gaierror, PermissionError) as error:
        raise CannotServe(f"can't listen on {settings.listen}: {error.strerror}") from None
    except OSError as error:
        if error.filename is None and error.errno is not None and "ddress" in (error.strerror or ""):
            raise CannotServe(
                f"can't listen on {settings.listen}: {error.strerror}; give another port with --listen"
            ) from None
        raise


def _announce(settings: Settings, listener: socket.socket) -> None:
    """Say that requests are answered: on standard output, in DATA/address, and to systemd (sd_notify(3))."""
    host, port = listener.getsockname()[:2]
    scheme = "http" if settings.tls_cert is None else "https"
    url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    (settings.data / "address").write_text(f"{url}\n")
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


def _database(settings: Settings) -> Path:
    if not settings.metadata_url:
        return settings.data / "metadata.sqlite"
    parts: Any = urlsplit(settings.metadata_url)
    if parts.scheme != "sqlite" or not parts.path:
        raise BadSettings(f"no metadata store is known for {settings.metadata_url!r}: use sqlite:///FILE")
    return Path(unquote(parts.path))
