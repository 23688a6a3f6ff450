"""``samedrive conflicts`` on real mounts: what a person sees and decides."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.real.harness import Mount
from tests.real.world import World


@pytest.fixture
def pair(world: World) -> tuple[Mount, Mount]:
    return world.mount("desk"), world.mount("laptop")


@pytest.fixture
def copy(pair: tuple[Mount, Mount]) -> Path:
    """laptop's copy, "mine", of "notes.txt" in a folder, where desk's "theirs" stands."""
    desk, laptop = pair
    (desk.path / "folder").mkdir()
    (desk.path / "folder" / "notes.txt").write_text("base")
    with (laptop.path / "folder" / "notes.txt").open("r+") as file:
        file.write("mine")
        (desk.path / "folder" / "notes.txt").write_text("theirs")
    [name] = [name for name in os.listdir(laptop.path / "folder") if "conflict from laptop" in name]
    return laptop.path / "folder" / name


def contents(mount: Mount) -> dict[str, str]:
    return {path.name: path.read_text() for path in (mount.path / "folder").iterdir()}


def test_conflicts_are_listed_with_what_they_conflict_with(pair: tuple[Mount, Mount], copy: Path) -> None:
    for mount in pair:
        [found] = json.loads(mount.device.run("conflicts", "--json", str(mount.path)).stdout)
        here = mount.path / "folder"
        assert (found["path"], found["conflicts_with"]) == (str(here / copy.name), str(here / "notes.txt"))
        assert (found["device"], found["size_bytes"]) == ("laptop", 4)
        said = mount.device.run("conflicts").stdout
        assert f"{here / copy.name}\n  by laptop, 20" in said
        assert f"conflicts with {here / 'notes.txt'}" in said
        assert "samedrive conflicts keep WHICH FILE" in said


@pytest.mark.parametrize(("which", "left"), [("mine", ["mine"]), ("theirs", ["theirs"]), ("both", ["mine", "theirs"])])
def test_each_device_can_decide(pair: tuple[Mount, Mount], copy: Path, which: str, left: list[str]) -> None:
    desk, _ = pair
    assert sorted(contents(desk).values()) == ["mine", "theirs"]
    said = desk.device.run("conflicts", "keep", which, str(desk.path / "folder" / copy.name)).stdout
    assert said == f"{desk.path / 'folder' / copy.name}: kept {which}\n"
    for mount in pair:
        assert sorted(contents(mount).values()) == left
        assert mount.device.run("conflicts", str(mount.path)).stdout == "No conflicts.\n"


def test_what_can_not_be_decided_is_said_in_a_line(pair: tuple[Mount, Mount], copy: Path) -> None:
    _, laptop = pair
    file = str(copy.parent / "notes.txt")
    for arguments, status, said in (
        (("keep", "mine", file), 1, f"{file}: this is not a conflict copy (samedrive conflicts lists them)"),
        (("keep", "mine", file + "x"), 1, f"{file}x: there is no such file"),
        (("keep", "mine", "/nowhere"), 1, "/nowhere: this is not on a drive that is mounted here"),
        (("keep", "ours", file), 2, "say what to keep"),
        (("keep", "mine"), 2, "say what to keep"),
        (("/nowhere",), 1, "no drive is mounted at /nowhere"),
    ):
        done = laptop.device.run("conflicts", *arguments, check=False)
        assert (done.returncode, done.stdout) == (status, "")
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
