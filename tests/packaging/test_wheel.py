"""What ``pip install .`` puts into a site-packages."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = "import hatchling.build, sys; print(hatchling.build.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return folder / done.stdout.split()[-1]


def test_everything_is_in_one_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        tops = {name.split("/")[0] for name in opened.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"samedrive"}


def test_every_file_of_the_program_is_in_it(wheel: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "backend", "cli", "fs", "protocol", "server", "mount.py"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.split()
    with zipfile.ZipFile(wheel) as opened:
        assert {f"samedrive/{name}" for name in tracked} <= set(opened.namelist())


def test_the_installed_program_starts_and_leaves_no_general_names_importable(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    said = subprocess.run(
        [sys.executable, "-c", "import sys, samedrive; sys.argv = ['samedrive', '--help']; samedrive.main()"],
        cwd=tmp_path,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    assert said.startswith("Usage: samedrive ")
    names = "('fs', 'server', 'cli', 'backend', 'protocol')"
    found = f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
    general = subprocess.run(
        [sys.executable, "-c", "import samedrive; " + found],
        cwd=tmp_path,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    assert general == "[]\n"
