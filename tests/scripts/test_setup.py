"""The set-up that ``./samedrive`` does: what it installs, what it says, and that it mends what was interrupted.

It runs in a copy of the checkout's scripts, with a PATH of stand-ins: a ``python3`` that notes what it is told to do
and makes an environment of the same kind, an ``apt-get`` that notes and installs more stand-ins.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = (
    "bash",
    "cat",
    "chmod",
    "cp",
    "dirname",
    "env",
    "flock",
    "grep",
    "id",
    "mkdir",
    "mktemp",
    "mv",
    "readlink",
    "rm",
    "sha256sum",
    "tail",
)

PYTHON = """#!/bin/bash
case $1 in
    -V) echo "Python 3.11.99" ;;
    -c | -) ;;
    -m) echo "$*" >>"$NOTES"
        if [[ $2 == venv ]]; then mkdir -p "$4/bin"; cp "$0" "$4/bin/python"; fi
        if [[ $2 == pip && -n ${PIP_FAILS:-} ]]; then echo "ERROR: no such package"; exit 1; fi ;;
    *) shift; echo "ran: $*" ;;
esac
"""

OLD_PYTHON = '#!/bin/bash\n[[ $1 == -V ]] && echo "Python 3.9.2"; [[ $1 != -c ]]\n'

APT = """#!/bin/bash
echo "apt-get $*" >>"$NOTES"
for package; do
    [[ $package == fuse3 ]] || continue
    echo '#!/bin/bash' >"$TOOLS/fusermount3"
    chmod +x "$TOOLS/fusermount3"
done
"""


@dataclass
class Machine:
    """A checkout and what the machine that it is on has."""

    checkout: Path
    tools: Path
    notes: Path

    def has(self, name: str, script: str = "#!/bin/bash\n") -> None:
        (self.tools / name).write_text(script)
        (self.tools / name).chmod(0o755)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.checkout / "samedrive", *arguments],
            env={"PATH": str(self.tools), "HOME": str(self.checkout.parent), "NOTES": str(self.notes)}
            | {"TOOLS": str(self.tools)}
            | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **environment)
        out, err = process.communicate()
        return process.returncode, out, err

    def noted(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """With everything there, but no environment yet."""
    made = Machine(tmp_path / "checkout", tmp_path / "tools", tmp_path / "notes")
    made.tools.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        # A script and not a link: writing another stand-in over a link would write into the machine's own program.
        made.has(tool, f'#!/bin/bash\nexec {found} "$@"\n')
    (made.checkout / "scripts").mkdir(parents=True)
    for name in ("samedrive", "scripts/setup.sh", "requirements.lock", "requirements-build.lock"):
        shutil.copy(ROOT / name, made.checkout / name)
    for tool in ("fusermount3", "pkg-config", "gcc"):
        made.has(tool)
    made.has("python3", PYTHON)
    return made


def test_an_environment_is_made_from_the_locks_with_hashes(machine: Machine) -> None:
    code, out, err = machine.run("status")
    assert (code, out) == (0, "ran: status\n")
    assert err.count("\n") == 1
    assert "making a Python environment" in err
    steps = machine.noted()
    assert len(steps) == 3
    assert steps[0] == f"-m venv --clear {machine.checkout}/.venv"
    assert "--require-hashes" in steps[1]
    assert steps[1].endswith("/requirements-build.lock")
    assert "--require-hashes --no-build-isolation" in steps[2]
    assert steps[2].endswith("/requirements.lock")


def test_the_second_time_nothing_is_done_and_nothing_said(machine: Machine) -> None:
    machine.run("status")
    before = machine.noted()
    assert machine.run("status", "DIR") == (0, "ran: status DIR\n", "")
    assert machine.noted() == before


@pytest.mark.parametrize("arguments", [("--yes", "up", "DIR"), ("up", "--yes", "DIR"), ("up", "DIR", "--yes")])
def test_yes_is_taken_anywhere_and_not_passed_on(machine: Machine, arguments: tuple[str, ...]) -> None:
    assert machine.run(*arguments, SAMEDRIVE_FUSE_DEVICE="/dev/null")[1] == "ran: up DIR\n"


def test_what_follows_two_dashes_is_passed_on_as_it_is(machine: Machine) -> None:
    assert machine.run("status", "--", "--yes")[1] == "ran: status -- --yes\n"


def test_an_interrupted_set_up_is_made_again(machine: Machine) -> None:
    code, _, err = machine.run("status", PIP_FAILS="1")
    assert code == 1
    assert "ERROR: no such package" in err
    assert (machine.checkout / ".venv" / "bin" / "python").exists()
    assert machine.run("status")[:2] == (0, "ran: status\n")


def test_a_changed_lock_is_installed(machine: Machine) -> None:
    machine.run("status")
    with (machine.checkout / "requirements.lock").open("a") as lock:
        lock.write("# more\n")
    steps = len(machine.noted())
    assert "making a Python environment" in machine.run("status")[2]
    assert len(machine.noted()) == 2 * steps


def test_another_version_of_python_is_noticed(machine: Machine) -> None:
    machine.run("status")
    python = machine.checkout / ".venv" / "bin" / "python"
    python.write_text(PYTHON.replace("3.11.99", "3.12.1"))
    assert "making a Python environment" in machine.run("status")[2]


def test_two_at_once_make_one_environment(machine: Machine) -> None:
    both = [machine.start("status"), machine.start("status")]
    assert [each.communicate()[0] for each in both] == ["ran: status\n"] * 2
    assert sum("-m venv" in step for step in machine.noted()) == 1


def test_missing_packages_are_named_and_installed_with_yes(machine: Machine) -> None:
    (machine.tools / "fusermount3").unlink()
    machine.has("apt-get", APT)
    machine.has("sudo", '#!/bin/bash\nexec "$@"\n')
    code, out, err = machine.run("--yes", "status")
    assert (code, out) == (0, "ran: status\n")
    assert err.splitlines()[0].endswith(": fuse3")
    assert "about to install with apt-get" in err
    assert [step.split(" -y ")[1] for step in machine.noted() if step.startswith("apt-get")] == [
        "update",
        "install --no-install-recommends fuse3",
    ]


def test_nothing_is_installed_unasked(machine: Machine) -> None:
    (machine.tools / "fusermount3").unlink()
    machine.has("apt-get", APT)
    machine.has("sudo")
    code, _, err = machine.run("status")
    assert code == 1
    assert "run it again with --yes" in err
    assert machine.noted() == []


def test_without_apt_the_missing_packages_are_told(machine: Machine) -> None:
    (machine.tools / "gcc").unlink()
    code, _, err = machine.run("--yes", "status")
    assert code == 1
    assert "missing here: gcc" in err
    assert "no apt" in err


def test_without_python_it_is_asked_of_apt(machine: Machine) -> None:
    (machine.tools / "python3").unlink()
    machine.has("apt-get", APT)
    machine.has("sudo")
    code, _, err = machine.run("status")
    assert code == 1
    assert err.splitlines()[0].endswith("python3 python3-venv python3-dev")


def test_too_old_a_python_is_told(machine: Machine) -> None:
    machine.has("python3", OLD_PYTHON)
    code, _, err = machine.run("--yes", "status")
    assert code == 1
    assert "Python 3.11 or later is needed; here is Python 3.9.2" in err


def test_a_machine_that_cannot_mount_is_told_before_anything_is_installed(machine: Machine) -> None:
    code, _, err = machine.run("--yes", "up", "DIR", SAMEDRIVE_FUSE_DEVICE="/dev/none")
    assert code == 1
    assert "there is no /dev/none" in err
    assert machine.noted() == []


def test_a_server_needs_no_fuse_device(machine: Machine) -> None:
    assert machine.run("serve", SAMEDRIVE_FUSE_DEVICE="/dev/none")[1] == "ran: serve\n"


def test_without_root_and_sudo_the_command_to_run_as_root_is_told(machine: Machine) -> None:
    (machine.tools / "fusermount3").unlink()
    machine.has("apt-get", APT)
    machine.has("id", "#!/bin/bash\necho 1000\n")
    code, _, err = machine.run("--yes", "status")
    assert code == 1
    assert "as root, run apt-get install fuse3" in err
    assert machine.noted() == []
