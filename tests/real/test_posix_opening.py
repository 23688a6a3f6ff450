"""What POSIX and Linux promise of open(2) and of descriptors: one promise a test, on one mount."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.refusals import refused

APPENDING = """
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
for number in range(100):
    os.write(file, f"{sys.argv[2]} {number} {'x' * 300}\\n".encode())
"""


def test_o_excl_refuses_every_kind_of_name(drive: Path) -> None:
    (drive / "file").touch()
    (drive / "folder").mkdir()
    os.symlink("nowhere", drive / "link")
    for name in ("file", "folder", "link"):
        with refused(errno.EEXIST):
            os.open(drive / name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    assert not (drive / "nowhere").exists()


def test_o_creat_makes_what_a_link_names(drive: Path) -> None:
    os.symlink("target", drive / "link")
    os.close(os.open(drive / "link", os.O_CREAT | os.O_WRONLY, 0o640))
    assert (drive / "target").is_file()


def test_o_nofollow_refuses_links(drive: Path) -> None:
    (drive / "file").touch()
    os.symlink("file", drive / "link")
    with refused(errno.ELOOP):
        os.open(drive / "link", os.O_RDONLY | os.O_NOFOLLOW)


def test_o_directory_refuses_files(drive: Path) -> None:
    (drive / "file").touch()
    with refused(errno.ENOTDIR):
        os.open(drive / "file", os.O_RDONLY | os.O_DIRECTORY)
    with refused(errno.ENOTDIR):
        os.open(drive / "file" / "below", os.O_RDONLY | os.O_CREAT)


def test_folders_are_not_written(drive: Path) -> None:
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC | os.O_WRONLY):
        with refused(errno.EISDIR):
            os.open(drive, flags)
    folder = os.open(drive, os.O_RDONLY)
    with refused(errno.EISDIR):
        os.read(folder, 1)
    os.close(folder)


def test_descriptors_do_what_they_were_opened_for(drive: Path) -> None:
    (drive / "file").write_bytes(b"content")
    reads, writes = os.open(drive / "file", os.O_RDONLY), os.open(drive / "file", os.O_WRONLY)
    place = os.open(drive / "file", os.O_PATH)
    with refused(errno.EBADF):
        os.write(reads, b"x")
    with refused(errno.EINVAL):
        os.ftruncate(reads, 0)
    with refused(errno.EBADF):
        os.read(writes, 1)
    with refused(errno.EBADF):
        os.fchmod(place, 0o600)
    assert os.fstat(place).st_size == 7
    for descriptor in (reads, writes, place):
        os.close(descriptor)


def test_o_trunc_empties_for_a_reader_too(drive: Path) -> None:
    (drive / "file").write_bytes(b"content")
    os.close(os.open(drive / "file", os.O_RDONLY | os.O_TRUNC))
    assert (drive / "file").read_bytes() == b""


def test_o_trunc_of_an_empty_file_moves_its_time(drive: Path) -> None:
    (drive / "file").touch()
    os.utime(drive / "file", ns=(1, 1))
    os.close(os.open(drive / "file", os.O_WRONLY | os.O_TRUNC))
    assert os.stat(drive / "file").st_mtime_ns > 1


def test_o_append_is_one_step_for_all_processes_of_a_mount(drive: Path) -> None:
    (drive / "log").touch()
    writers = [
        subprocess.Popen((sys.executable, "-c", APPENDING, str(drive / "log"), str(number))) for number in range(3)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    lines = (drive / "log").read_text().splitlines()
    assert sorted(lines) == sorted(f"{who} {number} {'x' * 300}" for who in range(3) for number in range(100))


def test_o_direct_reads_and_writes_past_the_page_cache(drive: Path) -> None:
    page = mmap.mmap(-1, 4096)
    page[:] = b"d" * 4096
    (drive / "file").write_bytes(b"c" * 8192)
    assert (drive / "file").read_bytes() == b"c" * 8192
    file = os.open(drive / "file", os.O_RDWR | os.O_DIRECT)
    os.pwritev(file, [page], 4096)
    assert (drive / "file").read_bytes() == b"c" * 4096 + b"d" * 4096
    os.preadv(file, [page], 0)
    assert page[:] == b"c" * 4096
    os.close(file)


def test_a_program_that_runs_is_not_written(drive: Path) -> None:
    shutil.copy("/bin/sleep", drive / "program")
    running = subprocess.Popen((drive / "program", "60"))
    try:
        with refused(errno.ETXTBSY):
            os.open(drive / "program", os.O_WRONLY)
        with refused(errno.ETXTBSY):
            os.truncate(drive / "program", 0)
        os.unlink(drive / "program")
        assert running.poll() is None
    finally:
        running.kill()
        running.wait()


def test_a_removed_folder_that_is_open_is_empty_and_stays_so(drive: Path) -> None:
    (drive / "folder").mkdir()
    folder = os.open(drive / "folder", os.O_RDONLY | os.O_DIRECTORY)
    os.rmdir(drive / "folder")
    assert os.listdir(folder) == []
    assert os.fstat(folder).st_nlink == 0
    with refused(errno.ENOENT):
        os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=folder)
    with refused(errno.ENOENT):
        os.mkdir("inside", dir_fd=folder)
    with refused(errno.ENOENT):
        os.symlink("x", "link", dir_fd=folder)
    os.close(folder)


@pytest.mark.parametrize("size", [1 << 43, (1 << 63) - 1])
def test_the_longest_file_that_linux_allows(drive: Path, size: int) -> None:
    file = os.open(drive / "file", os.O_RDWR | os.O_CREAT)
    os.ftruncate(file, size)
    with refused(errno.EFBIG):
        os.pwrite(file, b"x", (1 << 63) - 2)
    os.close(file)
    assert os.stat(drive / "file").st_size == size
    with open(drive / "file", "rb", buffering=0) as again:
        again.seek(size - 5)
        assert again.read(5) == bytes(5)


def test_a_process_may_write_no_further_than_its_limit(drive: Path) -> None:
    program = (
        "import os, resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
        "print(os.write(file, bytes(2000)))\n"
        "try:\n    os.write(file, b'x')\nexcept OSError as error:\n    print(error.errno)\n"
    )
    done = subprocess.run(
        (sys.executable, "-c", program, str(drive / "file")), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1000", str(errno.EFBIG)], done
    assert os.stat(drive / "file").st_size == 1000
