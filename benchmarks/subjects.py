"""What is measured: each a folder, served by something that was started for it and is ended with it.

Owns starting servers and mounts, forgetting caches, and knowing when what was written is durable at the server.
Knows nothing of the work that is done in the folder.

Every program runs as its own documentation has it, with these exceptions, each in the program's favour: sshfs'
and rclone's servers need not sync each file but once at the end, and rclone sends at once and not after 5 s.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.real.harness import START_S, Device, Failed, Mount, Process, Server, free_port, mounted, wait_mounts
from tests.real.proxy import Counts, Wire

LOOK_AGAIN_S: Final = 0.005
"""How often it is looked whether everything has arrived: nothing tells by itself."""


def sync_file_system(folder: Path) -> None:
    """syncfs(2): what was written to the file system that holds the folder is durable."""
    subprocess.run(("sync", "-f", str(folder)), check=True)


class Subject:
    """A folder to work in. The round-trip time is that between it and its server."""

    name: str

    def __init__(self, folder: Path, rtt_s: float) -> None:
        self.folder = folder
        self.rtt_s = rtt_s
        self.wire: Wire | None = None
        folder.mkdir(parents=True)

    @staticmethod
    def missing() -> str:
        """Which program isn't installed; empty where all are."""
        return ""

    @property
    def path(self) -> Path:
        """Where to work."""
        return self.folder / "mnt"

    def start(self) -> None:
        """Servers and mount are up."""
        raise NotImplementedError

    def forget(self) -> None:
        """Nothing is cached on the client any more."""
        raise NotImplementedError

    def make_durable(self, arrived: Callable[[Path], bool]) -> None:
        """All that was written and closed is durable on the server.

        ``arrived`` says so of a plain folder that a server keeps: for programs that don't tell by themselves.
        """

    def stop(self) -> None:
        """Everything that was started has ended."""

    def through_wire(self, port: int) -> int:
        """The port to connect to: the server's own on loopback, else that of a proxy before it."""
        if self.rtt_s == 0:
            return port
        self.wire = Wire(port)
        self.wire.set_rtt(self.rtt_s)
        return self.wire.port

    @contextmanager
    def near(self) -> Iterator[None]:
        """Meanwhile there is no delay: for preparing what isn't measured."""
        if self.wire is None:
            yield
            return
        self.wire.set_rtt(0)
        try:
            yield
        finally:
            self.wire.set_rtt(self.rtt_s)

    def counts(self) -> Counts | None:
        """What crossed the wire since the last call; None where there is no proxy."""
        if self.wire is None:
            return None
        counts = self.wire.counts()
        self.wire.reset()
        return counts


class Samedrive(Subject):
    """The product. A close returns when the content is durable, so there is nothing to wait for."""

    name = "samedrive"

    def start(self) -> None:
        self._server = Server(self.folder / "server").start()
        port = self.through_wire(self._server.port)
        device = Device(self.folder / "device", "bench", f"http://127.0.0.1:{port}")
        device.login(self._server.admin_password_file)
        self._mount = Mount(device, self.folder / "mount", "home").start()

    @property
    def path(self) -> Path:
        return self._mount.path

    def forget(self) -> None:
        self._mount.remount_empty()

    def stop(self) -> None:
        self._mount.close()
        self._server.close()
        if self.wire is not None:
            self.wire.close()


class LocalDisk(Subject):
    """A folder on the disk that all the servers keep their data on."""

    name = "local disk"

    def start(self) -> None:
        self.path.mkdir()

    def forget(self) -> None:
        """Pages of single files are dropped by the work itself; names stay cached."""
        sync_file_system(self.path)

    def make_durable(self, arrived: Callable[[Path], bool]) -> None:
        sync_file_system(self.path)


class Sshd:
    """An SSH server of our own on loopback: keys made for it, nothing of the machine's configuration."""

    PROGRAM = "/usr/sbin/sshd"

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        self.key = folder / "user_key"
        host_key = folder / "host_key"
        for key in (self.key, host_key):
            subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)), check=True)
        authorized = folder / "authorized_keys"
        shutil.copy(f"{self.key}.pub", authorized)
        self.host_key_line = host_key.with_suffix(".pub").read_text()
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        configuration = folder / "sshd_config"
        configuration.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nAuthorizedKeysFile {authorized}\n"
            f"StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nUseDNS no\n"
            f"Subsystem sftp internal-sftp\n"
        )
        self._process = Process((self.PROGRAM, "-D", "-e", "-f", str(configuration)), folder / "log", dict(os.environ))
        self._process.wait_for_line("Server listening")

    def known_hosts(self, file: Path, port: int) -> Path:
        """A file that vouches for the server at that port."""
        file.write_text(f"[127.0.0.1]:{port} {self.host_key_line}")
        return file

    def close(self) -> None:
        self._process.signal(15)
        self._process.wait()
        self._process.close()


class Mounted(Subject):
    """Something whose mount is one process in the foreground, over a folder that its server keeps."""

    @property
    def kept(self) -> Path:
        """The folder on the server."""
        return self.folder / "kept"

    def command(self) -> tuple[str, ...]:
        raise NotImplementedError

    def mount(self) -> None:
        self.path.mkdir(exist_ok=True)
        self._process = Process(self.command(), self.folder / "log", dict(os.environ))
        if not wait_mounts(lambda: mounted(self.path), START_S, self._process):
            raise Failed(f"no mount of {self.name}\n{self._process.output}")

    def unmount(self) -> None:
        subprocess.run(("fusermount3", "-uz", str(self.path)), check=False, capture_output=True)
        # It may be in the middle of something that takes longer than we care for: then it is killed.
        with suppress(Failed):
            self._process.wait()
        self._process.close()

    def forget(self) -> None:
        self.unmount()
        self.mount()

    def make_durable(self, arrived: Callable[[Path], bool]) -> None:
        while not arrived(self.kept):
            time.sleep(LOOK_AGAIN_S)
        sync_file_system(self.kept)


class Sshfs(Mounted):
    """sshfs with its defaults. Its close returns when the server has the bytes, in memory."""

    name = "sshfs"

    @staticmethod
    def missing() -> str:
        return next((each for each in ("sshfs", "/usr/sbin/sshd") if shutil.which(each) is None), "")

    def start(self) -> None:
        self.kept.mkdir()
        self._sshd = Sshd(self.folder / "sshd")
        self._port = self.through_wire(self._sshd.port)
        self._hosts = self._sshd.known_hosts(self.folder / "known_hosts", self._port)
        self.mount()

    def command(self) -> tuple[str, ...]:
        return (
            *("sshfs", "-f", "-p", str(self._port), "-F", "/dev/null"),
            *("-o", f"IdentityFile={self._sshd.key}", "-o", f"UserKnownHostsFile={self._hosts}"),
            *(f"{getpass.getuser()}@127.0.0.1:{self.kept}", str(self.path)),
        )

    def stop(self) -> None:
        self.unmount()
        self._sshd.close()
        if self.wire is not None:
            self.wire.close()


class Rclone(Mounted):
    """``rclone mount --vfs-cache-mode writes``; the kind of server is a subclass's."""

    @staticmethod
    def missing() -> str:
        return next((each for each in ("rclone", "/usr/sbin/sshd") if shutil.which(each) is None), "")

    def remote(self) -> str:
        raise NotImplementedError

    def command(self) -> tuple[str, ...]:
        self._control = free_port()
        return (
            *("rclone", "mount", self.remote(), str(self.path), "--config", "/dev/null"),
            *("--cache-dir", str(self.folder / "cache"), "--vfs-cache-mode", "writes", "--vfs-write-back", "0s"),
            *("--rc", "--rc-addr", f"127.0.0.1:{self._control}", "--rc-no-auth"),
        )

    def forget(self) -> None:
        self.unmount()
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        self.mount()

    def make_durable(self, arrived: Callable[[Path], bool]) -> None:
        # A close returns before rclone is told of it, so that a queue that is empty is not enough.
        while self._unsent() or not arrived(self.kept):
            time.sleep(LOOK_AGAIN_S)
        super().make_durable(arrived)

    def _unsent(self) -> int:
        request = urllib.request.Request(f"http://127.0.0.1:{self._control}/vfs/stats", method="POST")
        with urllib.request.urlopen(request, timeout=60) as reply:
            cache = json.load(reply)["diskCache"]
        return int(cache["uploadsInProgress"]) + int(cache["uploadsQueued"])


class RcloneSftp(Rclone):
    """To the same kind of SSH server that sshfs has."""

    name = "rclone sftp"

    def start(self) -> None:
        self.kept.mkdir()
        self._sshd = Sshd(self.folder / "sshd")
        self._port = self.through_wire(self._sshd.port)
        self._hosts = self._sshd.known_hosts(self.folder / "known_hosts", self._port)
        self.mount()

    def remote(self) -> str:
        return (
            f":sftp,host=127.0.0.1,port={self._port},user={getpass.getuser()},key_file='{self._sshd.key}',"
            f"known_hosts_file='{self._hosts}':{self.kept}"
        )

    def stop(self) -> None:
        self.unmount()
        self._sshd.close()
        if self.wire is not None:
            self.wire.close()


class Webdav:
    """A WebDAV server on loopback: rclone's."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.port = free_port()
        self._process = Process(
            ("rclone", "serve", "webdav", str(folder), "--addr", f"127.0.0.1:{self.port}", "--config", "/dev/null"),
            log,
            dict(os.environ),
        )
        self._process.wait_for_line("Serving on|WebDav Server started")

    def close(self) -> None:
        self._process.signal(15)
        self._process.wait()
        self._process.close()


class RcloneWebdav(Rclone):
    """rclone at both ends, over HTTP."""

    name = "rclone webdav"

    @staticmethod
    def missing() -> str:
        return "" if shutil.which("rclone") else "rclone"

    def start(self) -> None:
        self.kept.mkdir()
        self._webdav = Webdav(self.kept, self.folder / "webdav.log")
        self._port = self.through_wire(self._webdav.port)
        self.mount()

    def remote(self) -> str:
        return f":webdav,url='http://127.0.0.1:{self._port}/',vendor=other:"

    def stop(self) -> None:
        self.unmount()
        self._webdav.close()
        if self.wire is not None:
            self.wire.close()


class Davfs2(Subject):
    """davfs2 over rclone's WebDAV server; for root alone. It is told to send at once; an unmount waits for it."""

    name = "davfs2"
    CACHE = Path("/var/cache/davfs2")
    """Root's mounts can have no other; each has a folder of its own there, named for host and place."""
    BUFFER_KIB: Final = 128
    """For requests of the kernel. With the default of 16 it refuses (EINVAL) to list a folder where the kernel asks for
    as much as the program does, as Linux 6.18 does: 32 KiB."""

    @staticmethod
    def missing() -> str:
        if os.geteuid() != 0:
            return "root"
        return next((each for each in ("mount.davfs", "rclone") if shutil.which(each) is None), "")

    @property
    def kept(self) -> Path:
        return self.folder / "kept"

    def start(self) -> None:
        self.kept.mkdir()
        self.path.mkdir()
        self._webdav = Webdav(self.kept, self.folder / "webdav.log")
        self._port = self.through_wire(self._webdav.port)
        self._configuration = self.folder / "davfs2.conf"
        self._secrets = self.folder / "secrets"
        self._secrets.touch(mode=0o600)
        self.forget()

    def _mount(self) -> None:
        self._configuration.write_text(
            f"cache_size 4096\ndelay_upload 0\nask_auth 0\nuse_locks 0\nbuf_size {self.BUFFER_KIB}\n"
            f"secrets {self._secrets}\n"
        )
        subprocess.run(
            ("mount.davfs", "-o", f"conf={self._configuration}", f"http://127.0.0.1:{self._port}/", str(self.path)),
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )

    def _unmount(self) -> None:
        if mounted(self.path):
            subprocess.run(("umount", str(self.path)), check=True, capture_output=True)

    def forget(self) -> None:
        self._unmount()
        self._drop_cache()
        self._mount()

    def _drop_cache(self) -> None:
        for folder in self.CACHE.glob(f"*{str(self.path).strip('/').replace('/', '-')}*"):
            shutil.rmtree(folder)

    def make_durable(self, arrived: Callable[[Path], bool]) -> None:
        self._unmount()
        sync_file_system(self.kept)
        self._mount()

    def stop(self) -> None:
        subprocess.run(("umount", "-l", str(self.path)), check=False, capture_output=True)
        self._drop_cache()
        self._webdav.close()
        if self.wire is not None:
            self.wire.close()


SUBJECTS: Final = (Samedrive, LocalDisk, Sshfs, RcloneSftp, RcloneWebdav, Davfs2)
