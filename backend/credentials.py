"""The logins of this person on this machine: one small file each, readable by nobody else.

Owns ``$XDG_CONFIG_HOME/samedrive/logins``, and the files beside it in which a mount remembers its workspace, key
included, so that it can begin without its server. Knows nothing of the network: whether a token is still good, the
server says. A file is written whole under another name and renamed, so that a reader sees a whole login or none.

There may be several logins at one server, by other users or device names; each is its own file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from backend.errors import DriveError, LocalFailure, Unusable
from protocol.ids import DeviceId, WorkspaceId
from protocol.messages.accounts import Workspace

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class NoLogin(DriveError):
    """No saved login fits, or more than one: the text says what to do."""

    errno = errno.EACCES


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """A token for a server and who it belongs to. ``url`` is as ``normal_url`` gives it."""

    url: str
    user: str
    device: str
    """The device's name, as the person chose it."""
    device_id: DeviceId
    token: str
    ca_file: str | None = None
    """An absolute path: certificates to trust beside the system's."""


def default_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """``$XDG_CONFIG_HOME/samedrive/logins``, by default below ``~/.config``."""
    config = environment.get("XDG_CONFIG_HOME", "")
    # The XDG specification: a relative path in such a variable is to be ignored.
    base = Path(config) if config.startswith("/") else Path(environment.get("HOME") or Path.home()) / ".config"
    return base / "samedrive" / "logins"


def normal_url(url: str) -> str:
    """``scheme://host[:port]`` in lower case, without the scheme's own port or a slash at the end; raises Unusable."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Unusable(f"{url!r} is not a server's address: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise Unusable(f"{url!r} is not a server's address: it looks like https://drive.example.org:8443")
    if parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"):
        raise Unusable(f"{url!r} is not a server's address: it has nothing but https://, a host and a port")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}")


def save(credential: Credential, folder: Path | None = None) -> Path:
    """Keep a login, in place of an older one of the same user and device; raises LocalFailure."""
    path = (folder or default_folder()) / _file_name(credential)
    try:
        _write(path, msgspec.json.format(msgspec.json.encode(credential), indent=2) + b"\n")
    except OSError as error:
        raise LocalFailure(
            f"the login can't be saved in {path.parent}: {error.strerror}", error.errno or errno.EIO
        ) from None
    return path


def _write(path: Path, content: bytes) -> None:
    """Replace a file, readable by nobody else; whole, or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.parent / f".{secrets.token_hex(8)}.new"
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def workspace_file(credential: Credential, workspace: str | None, environment: Mapping[str, str] = os.environ) -> Path:
    """Where the workspace that is called so, under this login, is remembered."""
    key = "\n".join((credential.url, credential.user, credential.device, workspace or ""))
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    return default_folder(environment).parent / "workspaces" / f"{name}.json"


def remember_workspace(path: Path, workspace: Workspace) -> None:
    """Keep what a mount needs to begin without its server; raises LocalFailure."""
    try:
        _write(path, msgspec.json.encode(workspace))
    except OSError as error:
        raise LocalFailure(f"{path} can't be written: {error.strerror}") from error


def remembered_as(workspace: WorkspaceId, environment: Mapping[str, str] = os.environ) -> dict[Path, Workspace]:
    """Where a workspace is remembered, and as what: once for each name and login that it was mounted by."""
    files = sorted((default_folder(environment).parent / "workspaces").glob("*.json"))
    found = {path: known for path in files if (known := remembered_workspace(path)) is not None}
    return {path: known for path, known in found.items() if known.id == workspace}


def remembered_workspace(path: Path) -> Workspace | None:
    """What was kept, or None."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Workspace)
    except (OSError, msgspec.DecodeError):
        return None


def saved(folder: Path | None = None) -> list[Credential]:
    """All logins, by URL, user and device; a file that is damaged raises LocalFailure, which names it."""
    folder = folder or default_folder()
    logins: list[Credential] = []
    for path in sorted(folder.glob("*.json")):
        try:
            logins.append(msgspec.json.decode(path.read_bytes(), type=Credential))
        except FileNotFoundError:
            continue
        except (OSError, msgspec.DecodeError) as error:
            raise LocalFailure(
                f"the login in {path} can't be read ({error}): delete the file and log in again"
            ) from None
    return sorted(logins, key=lambda login: (login.url, login.user, login.device))


def load(
    url: str | None = None, *, user: str | None = None, device: str | None = None, folder: Path | None = None
) -> Credential:
    """The one login that fits what is not None; raises NoLogin where there is none, or more than one."""
    wanted = None if url is None else normal_url(url)
    known = saved(folder)
    fitting = [
        login
        for login in known
        if wanted in {None, login.url} and user in {None, login.user} and device in {None, login.device}
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        choices = ", ".join(f"{login.user} on {login.device!r} at {login.url}" for login in fitting)
        raise NoLogin(f"there are several logins; say which server, user or device is meant: {choices}")
    asked = "".join(
        f" {word} {value}" for word, value in (("at", wanted), ("as", user), ("on", device)) if value is not None
    )
    raise NoLogin(f"not logged in{asked}: samedrive login {wanted or 'URL'} --user {user or 'NAME'}")


def remove(credential: Credential, folder: Path | None = None) -> None:
    """Forget a login; nothing happens where it is gone already."""
    ((folder or default_folder()) / _file_name(credential)).unlink(missing_ok=True)


def _file_name(credential: Credential) -> str:
    key = "\n".join((credential.url, credential.user, credential.device))
    return f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
