"""Names, contents and times at the edge of what Linux allows, as another mount sees them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.real.churn import hard_links, many_files, rewritten
from tests.real.harness import Mount

PATH_MAX = 4096
"""With its NUL."""

NAMES = [
    b"new\nline",
    b"tab\tand\rreturn",
    bytes(range(1, 32)),
    b"\x7f",
    b"\xff\xfe",
    b"cut \xe2\x82",
    b"\xed\xa0\x80 surrogate",
    b"-rf",
    b"...",
    b" ",
    b"trailing dot.",
    b"COM1",
    b"\\back\\slash",
    b"*?\"<>|:'$`",
    b"\xe2\x80\xae right to left",
    b"n" * 255,
    b"\xc3\xa9" * 127,
]
"""Each is its own content."""


def test_any_bytes_make_a_name_on_every_mount_and_after_a_new_start(
    both: tuple[Path, Path], second_mount: Mount
) -> None:
    one, other = (os.fsencode(folder) + b"/" for folder in both)
    for name in NAMES:
        with open(one + name, "wb") as file:
            file.write(name)
    assert sorted(os.listdir(other)) == sorted(NAMES)
    second_mount.remount_empty()
    for name in NAMES:
        with open(other + name, "rb") as file:
            assert file.read() == name


@pytest.mark.parametrize(
    "names",
    [("name", "Name", "NAME"), ("é", "e\u0301"), ("ﬁ", "fi"), ("ß", "ss", "SS"), ("\u212b", "\u00c5")],
    ids=ascii,
)
def test_names_that_look_alike_are_different_files_on_every_mount(
    both: tuple[Path, Path], names: tuple[str, ...]
) -> None:
    for name in names:
        with (both[0] / name).open("x") as file:
            file.write(ascii(name))
    assert sorted(os.listdir(both[1])) == sorted(names)
    for name in names:
        assert (both[1] / name).read_text() == ascii(name)


def test_a_path_of_the_longest_length_and_folders_below_it(drive: Path) -> None:
    path = os.fsencode(drive)
    while len(path) + 1 + 200 < PATH_MAX - 1:
        path += b"/" + b"d" * 199
        os.mkdir(path)
    path += b"/" + b"f" * (PATH_MAX - 1 - len(path) - 1)
    assert len(path) == PATH_MAX - 1
    Path(os.fsdecode(path)).write_text("deep")
    with pytest.raises(OSError, match="File name too long"):
        os.stat(path + b"f")
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(3):
            os.mkdir(b"d" * 255, dir_fd=folder)
            below = os.open(b"d" * 255, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = below
        descriptor = os.open(b"deeper", os.O_CREAT | os.O_RDWR, dir_fd=folder)
        os.write(descriptor, b"deeper")
        os.close(descriptor)
        assert os.listdir(folder) == ["deeper"]
    finally:
        os.close(folder)


def test_a_path_of_three_hundred_folders(drive: Path) -> None:
    path = drive
    for _ in range(300):
        path /= "d"
        path.mkdir()
    (path / "file").write_text("deep")
    (drive / "d").rename(drive / "e")
    assert (drive / "e" / path.relative_to(drive / "d") / "file").read_text() == "deep"


def test_a_folder_of_a_thousand_files_is_listed_whole_on_another_mount(both: tuple[Path, Path]) -> None:
    names = many_files(both[0], 1_200)
    listed = os.listdir(both[1])
    assert len(listed) == len(names)
    assert set(listed) == names


def test_an_empty_file_is_empty_on_another_mount_and_after_it_was_full(both: tuple[Path, Path]) -> None:
    here, there = (folder / "file" for folder in both)
    here.touch()
    assert there.read_bytes() == b""
    here.write_bytes(b"x" * 100_000)
    here.write_bytes(b"")
    assert there.read_bytes() == b""
    assert there.stat().st_size == there.stat().st_blocks == 0


def test_bytes_at_the_end_of_a_hundred_gibibytes_of_nothing(both: tuple[Path, Path]) -> None:
    size = 100 << 30
    here, there = (folder / "file" for folder in both)
    with here.open("wb") as file:
        file.seek(size - 3)
        file.write(b"end")
    assert there.stat().st_size == size
    assert there.stat().st_blocks * 512 < 10 << 20
    with there.open("rb") as file:
        assert file.read(10) == bytes(10)
        file.seek(50 << 30)
        assert file.read(10) == bytes(10)
        file.seek(-5, os.SEEK_END)
        assert file.read() == b"\0\0end"


def test_a_file_that_is_rewritten_often_is_what_was_written_last(both: tuple[Path, Path]) -> None:
    rewritten(both[0] / "file", 150)
    assert (both[1] / "file").read_bytes() == (both[0] / "file").read_bytes()


def test_a_file_with_many_names(drive: Path) -> None:
    hard_links(drive, 100)


@pytest.mark.parametrize(
    ("asked_s", "kept_s"), [(-86_400, -86_400), (32_503_680_000, 9_223_372_036), (-11_676_096_000, -9_223_372_037)]
)
def test_a_time_that_is_too_far_away_becomes_the_nearest_that_can_be_kept(
    both: tuple[Path, Path], asked_s: int, kept_s: int
) -> None:
    here, there = (folder / "file" for folder in both)
    here.touch()
    os.utime(here, ns=(asked_s * 10**9, asked_s * 10**9))
    assert there.stat().st_mtime_ns // 10**9 == kept_s
    here.write_text("the mount goes on")
    assert there.read_text() == "the mount goes on"
