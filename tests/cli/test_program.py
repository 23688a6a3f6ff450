"""The edge: what a person reads, and the status that the process ends with."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

import mount
from backend.errors import Offline
from protocol.version import VERSION

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", mount.COMMANDS)
def test_every_command_that_is_listed_exists_and_explains_itself(name: str) -> None:
    where = mount.COMMANDS[name]
    command = getattr(import_module(where.module), where.attribute)
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.help


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert mount.run(["--help"], {}) == 0
    said = capsys.readouterr().out
    assert [name for name in mount.COMMANDS if f"\n  {name} " not in said] == []


def test_help_imports_neither_network_nor_kernel() -> None:
    code = (
        "import sys, mount; mount.run(['--help'], {}); "
        "print([n for n in ('httpx', 'pyfuse3', 'starlette', 'cryptography') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert mount.run(["--version"], {}) == 0
    assert capsys.readouterr().out == f"samedrive {VERSION}\n"


def test_an_unknown_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert mount.run(["upp"], {}) == 2
    assert capsys.readouterr().err.splitlines() == ["samedrive: No such command 'upp'. See samedrive --help"]


def test_an_expected_error_is_one_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert mount.report(Offline("no connection\nto the server"), {}) == 1
    assert capsys.readouterr().err == "samedrive: no connection to the server\n"


def test_an_error_of_the_system_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert mount.report(PermissionError(13, "Permission denied", "/x"), {}) == 1
    assert capsys.readouterr().err == "samedrive: /x: Permission denied\n"


def test_a_fault_of_the_program_leaves_its_trace_in_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mount.report(ZeroDivisionError("division by zero"), {"XDG_STATE_HOME": str(tmp_path)}) == 1
    log = tmp_path / "samedrive" / "fault.log"
    assert "ZeroDivisionError" in log.read_text()
    assert capsys.readouterr().err.count("\n") == 1
