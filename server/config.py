"""A server's settings: a TOML file, then ``SAMEDRIVE_…`` variables, then flags, each over the one before."""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from protocol.limits import LEASE_MAX_S

GRACE_MAX_S: Final = 600.0
KEEP_CHANGES_MAX_DAYS: Final = 36_500.0
KEEP_AUDIT_MAX_DAYS: Final = 36_500.0
LEASE_MIN_S: Final = 0.5
"""Below this a busy machine's mounts would lose their leases."""


class BadSettings(Exception):
    """A setting is missing, unknown or of the wrong kind; the message names it."""


class Address(NamedTuple):
    """Where to listen; port 0 is any free one."""

    host: str
    port: int


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be set. Names in a file are these, with ``-`` or ``_``; variables ``SAMEDRIVE_LISTEN`` …"""

    data: Path
    """Default: ``$XDG_DATA_HOME/samedrive/server``."""
    listen: str = "127.0.0.1:8473"
    metadata_url: str = ""
    """Empty: ``sqlite:///DATA/metadata.sqlite``."""
    blocks_url: str = ""
    """Empty: ``file:///DATA/blocks``."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure_listen: bool = False
    admin_password_file: Path | None = None
    lease_s: float = 10.0
    """How long a mount may answer from its caches unheard: what one that is cut off costs the others, once."""
    keep_changes_days: float = 30.0
    """How long changes are kept for devices that are away (the last ones are, whatever their age)."""
    keep_audit_days: float = 365.0
    """How long the audit log goes back (of each kind of event the last 100,000 are kept at most)."""
    grace_s: float = 20.0
    """How long open requests may take when the server stops."""

    @property
    def address(self) -> Address:
        """``listen``, taken apart; raises BadSettings."""
        host, colon, port = self.listen.rpartition(":")
        if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            raise BadSettings(f"--listen takes HOST:PORT, not {self.listen!r}")
        return Address(host.removeprefix("[").removesuffix("]"), int(port))


def load(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """The settings of a server; raises BadSettings. A flag that is None or False was not given."""
    merged: dict[str, Any] = {"data": _default_data(environment)}
    if file is not None:
        try:
            merged |= {key.replace("-", "_"): value for key, value in tomllib.loads(file.read_text()).items()}
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadSettings(f"the settings file {file} can't be used: {error}") from None
    for name in Settings.__struct_fields__:
        if value := environment.get(f"SAMEDRIVE_{name.upper()}"):
            merged[name] = value
    merged |= {name: value for name, value in flags.items() if value is not None and value is not False}
    try:
        settings = msgspec.convert(merged, Settings, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise BadSettings(f"a setting is wrong: {error}") from None
    _check(settings)
    return settings


def _default_data(environment: Mapping[str, str]) -> Path:
    named = environment.get("XDG_DATA_HOME", "")
    # The XDG specification: a relative path in such a variable is to be ignored.
    base = Path(named) if named.startswith("/") else Path(environment.get("HOME") or Path.home()) / ".local/share"
    return base / "samedrive" / "server"


def _path(kind: type[Any], value: Any) -> Any:
    if kind is Path and isinstance(value, (str, Path)):
        return Path(value).expanduser().absolute()
    raise TypeError("a path is a text")


def _check(settings: Settings) -> None:
    host = settings.address.host
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise BadSettings("--tls-cert and --tls-key go together")
    if not LEASE_MIN_S <= settings.lease_s <= LEASE_MAX_S:
        raise BadSettings(f"--lease-s takes {LEASE_MIN_S:g} to {LEASE_MAX_S:g} seconds")
    if not 0 <= settings.keep_changes_days <= KEEP_CHANGES_MAX_DAYS:
        raise BadSettings(f"--keep-changes-days takes 0 to {KEEP_CHANGES_MAX_DAYS:g} days")
    if not 0 <= settings.keep_audit_days <= KEEP_AUDIT_MAX_DAYS:
        raise BadSettings(f"--keep-audit-days takes 0 to {KEEP_AUDIT_MAX_DAYS:g} days")
    if not 0 <= settings.grace_s <= GRACE_MAX_S:
        raise BadSettings(f"--grace-s takes 0 to {GRACE_MAX_S:g} seconds")
    if not _is_loopback(host) and settings.tls_cert is None and not settings.insecure_listen:
        raise BadSettings(
            f"listening on {host} without TLS would send passwords and tokens in the clear: "
            "give --tls-cert and --tls-key, or --insecure-listen behind a proxy that does TLS"
        )
    for file in (settings.tls_cert, settings.tls_key, settings.admin_password_file):
        if file is not None and not file.is_file():
            raise BadSettings(f"there is no file {file}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
