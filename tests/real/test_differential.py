"""Random programs on a mount and on a local folder (``tests/differential``), which must look the same all the time.

``scripts/soak posix`` goes on with other seeds.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.differential.mountedfile import MountedFiles
from tests.differential.places import comparing, mounting
from tests.real.harness import REPOSITORY, as_user, environment, interpreter_for

SEEDS = 8
ORDINARY_USER = 65_534


@pytest.mark.parametrize(("first", "flags"), [(1, ()), (1_000, ("--no-epoch",)), (2_000, ("--strict",))], ids=repr)
def test_random_programs_find_what_a_local_file_system_shows(
    tmp_path: Path, first: int, flags: tuple[str, ...]
) -> None:
    with comparing(tmp_path, *flags) as comparison:
        for seed in range(first, first + SEEDS):
            comparison.check(seed)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_random_programs_of_an_ordinary_user_find_it_too(tmp_path: Path) -> None:
    interpreter = interpreter_for(ORDINARY_USER)
    assert interpreter is not None
    tmp_path.chmod(0o711)
    home = tmp_path / "home"
    env = {**environment(home), "PYTHONPATH": interpreter[1], "TMPDIR": str(home)}
    for path in (home, *home.rglob("*")):
        os.chown(path, ORDINARY_USER, ORDINARY_USER)
    done = subprocess.run(
        as_user(ORDINARY_USER, (interpreter[0], "-m", "tests.differential", "posix", "0.1", "3000")),
        cwd=REPOSITORY,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_random_writes_to_one_file_are_read_again(tmp_path: Path) -> None:
    with mounting(tmp_path / "samedrive") as mount:
        files = MountedFiles(mount)
        for seed in range(1, 5):
            files.check(seed, 1_000)
