"""A server's settings: a TOML file, then ``SAMEDRIVE_…`` variables, then flags, each over the one before."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec


class BadSettings(Exception):
    """A setting is missing, unknown or of the wrong kind; the message names it."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be set. Names in a file are these with ``-`` or ``_``; variables ``SAMEDRIVE_`` and capitals."""

    data: Path
    listen: str = "127.0.0.1:8473"
    metadata_url: str = ""
    """Empty: ``sqlite:///DATA/metadata.sqlite``."""
    blocks_url: str = ""
    """Empty: ``file:///DATA/blocks``."""
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure_listen: bool = False
    admin_password_file: Path | None = None
    grace_s: float = 20.0
    """How long open requests may take when the server stops."""

    @property
    def host(self) -> str:
        """Where it listens, without the port."""
        return self.listen.rpartition(":")[0].strip("[]")


def load(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """The settings of a server; raises BadSettings."""
    merged: dict[str, Any] = {}
    if file is not None:
        try:
            merged |= {key.replace("-", "_"): value for key, value in tomllib.loads(file.read_text()).items()}
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadSettings(f"the settings file {file} can't be used: {error}") from None
    for name in Settings.__struct_fields__:
        if (value := environment.get(f"SAMEDRIVE_{name.upper()}")) is not None:
            merged[name] = value
    merged |= {name: value for name, value in flags.items() if value is not None and value is not False}
    if "data" not in merged:
        raise BadSettings("say where the server keeps its data: --data FOLDER")
    try:
        settings = msgspec.convert(merged, Settings, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise BadSettings(f"a setting is wrong: {error}") from None
    _check(settings)
    return settings


def _path(kind: type[Any], value: Any) -> Any:
    if kind is Path:
        return Path(value).expanduser().absolute()
    raise NotImplementedError


def _check(settings: Settings) -> None:
    host, colon, port = settings.listen.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65_535:
        raise BadSettings(f"--listen takes HOST:PORT, not {settings.listen!r}")
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise BadSettings("--tls-cert and --tls-key go together")
    loopback = settings.host in ("localhost", "::1") or settings.host.startswith("127.")
    if not loopback and settings.tls_cert is None and not settings.insecure_listen:
        raise BadSettings(
            f"listening on {settings.host} without TLS would send passwords and tokens in the clear: "
            "give --tls-cert and --tls-key, or --insecure-listen behind a proxy that does TLS"
        )
    for file in (settings.tls_cert, settings.tls_key, settings.admin_password_file):
        if file is not None and not file.is_file():
            raise BadSettings(f"there is no file {file}")
