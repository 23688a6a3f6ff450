"""The ways in which editors save: through a swap file, over a backup, beside and renamed, under a lock file."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from tests.real.programs.conftest import Run
from tests.real.programs.terminal import typed


@pytest.mark.parametrize("backupcopy", ["yes", "no"])
def test_vim_saves_with_swap_and_backup(drive: Path, run: Run, backupcopy: str) -> None:
    file = drive / "text"
    file.write_text("one\ntwo\n")
    file.chmod(0o640)
    run(
        *("vim", "-Nu", "NONE", "-es", "--not-a-term"),
        *("-c", f"set swapfile directory=. undofile undodir=. backupcopy={backupcopy}"),
        *("-c", "set backup writebackup backupdir=. backupskip="),
        *("-c", "%s/two/three/", "-c", "preserve", "-c", "wq", "text"),
        cwd=drive,
    )
    assert file.read_text() == "one\nthree\n"
    assert (drive / "text~").read_text() == "one\ntwo\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(drive)) == [".text.un~", "text", "text~"]


def test_nano_saves_in_place_with_a_backup(drive: Path, env: dict[str, str]) -> None:
    file = drive / "text"
    file.write_text("one\n")
    file.chmod(0o640)
    before = file.stat().st_ino
    write_out, leave = b"\x0f\r", b"\x18"
    typed(("nano", "--ignorercfiles", "--backup", str(file)), b"new " + write_out + leave, env)
    assert file.read_text() == "new one\n"
    assert (drive / "text~").read_text() == "one\n"
    assert (file.stat().st_ino, file.stat().st_mode & 0o777) == (before, 0o640)
    assert sorted(os.listdir(drive)) == ["text", "text~"]


def test_a_file_saved_beside_and_renamed_over_is_never_missing_on_another_mount(
    both: tuple[Path, Path],
) -> None:
    here, there = (folder / "text" for folder in both)
    here.write_text("0")
    for number in range(1, 30):
        beside = here.with_suffix(".tmp")
        with beside.open("w") as file:
            file.write(str(number))
            file.flush()
            os.fsync(file.fileno())
        beside.rename(here)
        assert there.read_text() == str(number)


def test_an_office_suites_lock_file_is_seen_and_respected_on_another_mount(both: tuple[Path, Path]) -> None:
    """LibreOffice makes .~lock.NAME# with O_EXCL, writes who has it, and removes it; others read it and ask."""
    here, there = (folder / ".~lock.letter.odt#" for folder in both)

    def lock(path: Path, who: str) -> str | None:
        """None where it is ours now, else who has it."""
        with suppress(FileExistsError):
            with path.open("x") as file:
                file.write(who)
            return None
        return path.read_text()

    for turn in range(5):
        assert lock(here, f"ann {turn}") is None
        assert lock(there, "ben") == f"ann {turn}"
        here.unlink()
        assert lock(there, f"ben {turn}") is None
        assert lock(here, "ann") == f"ben {turn}"
        there.unlink()
