"""Uploads by picker and drop, large ones and folders, paused, gone on with, and tried again."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

import pytest

from tests.browser.driving import Page
from tests.real.world import World

LARGE_BYTES = 100 << 20


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder of the person who uploads."""
    (tmp_path / "trip" / "day 1").mkdir(parents=True)
    (tmp_path / "trip" / "empty").mkdir()
    (tmp_path / "trip" / "plan.txt").write_text("go")
    (tmp_path / "trip" / "day 1" / "ünïcode #1?.txt").write_text("walk")
    (tmp_path / "note.txt").write_text("remember")
    return tmp_path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """100 MiB that can't be compressed."""
    path = tmp_path / "large.bin"
    path.write_bytes(random.Random(5).randbytes(LARGE_BYTES))
    return path


def _pick(page: Page, label: str, *paths: Path) -> None:
    page.css(f"input[type=file][aria-label='{label}']").send_keys("\n".join(map(str, paths)))


def _tree(folder: Path) -> dict[str, str | None]:
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_text() for path in sorted(folder.rglob("*"))
    }


def test_picked_files_are_uploaded_to_the_folder_that_is_shown(page: Page, world: World, here: Path) -> None:
    mount = world.mount()
    (mount.path / "inbox").mkdir()
    page.open_row("inbox")
    page.wait_until(lambda: page.crumbs()[1:] == ["inbox"], "the folder")
    _pick(page, "Files to upload", here / "note.txt", here / "trip" / "plan.txt")
    page.wait_rows("note.txt", "plan.txt")
    page.wait_text("2 files uploaded", ".uploads")
    assert _tree(mount.path / "inbox") == {"note.txt": "remember", "plan.txt": "go"}
    page.press("Clear what is done")
    page.wait_until(lambda: not page.css(".uploads").is_displayed(), "no uploads")


def test_a_picked_folder_is_uploaded_with_all_that_is_in_it(page: Page, world: World, here: Path) -> None:
    mount = world.mount()
    _pick(page, "Folder to upload", here / "trip")
    page.wait_text("2 files uploaded", ".uploads")
    page.wait_rows("trip")
    assert _tree(mount.path)["trip/day 1/ünïcode #1?.txt"] == "walk"


def test_dropped_files_and_folders_are_uploaded(page: Page, world: World, here: Path) -> None:
    mount = world.mount()
    page.drop(".items", here / "trip", here / "note.txt")
    page.wait_text("3 files uploaded", ".uploads")
    page.wait_rows("trip", "note.txt")
    page.wait_until((mount.path / "trip" / "empty").is_dir, "the empty folder")
    assert _tree(mount.path) == _tree(here)


def test_what_is_dropped_on_a_folder_goes_there(page: Page, world: World, here: Path) -> None:
    mount = world.mount()
    (mount.path / "inbox").mkdir()
    page.wait_rows("inbox")
    page.drop("tbody tr", here / "note.txt")
    page.wait_text("1 file uploaded", ".uploads")
    assert (mount.path / "inbox" / "note.txt").read_text() == "remember"


def test_a_hundred_mebibytes_arrive_and_come_back(page: Page, world: World, large: Path) -> None:
    mount = world.mount()
    _pick(page, "Files to upload", large)
    page.wait_text("1 file uploaded", ".uploads", timeout_s=120)
    wanted = hashlib.sha256(large.read_bytes()).digest()
    assert hashlib.sha256((mount.path / "large.bin").read_bytes()).digest() == wanted
    page.select("large.bin")
    page.press("Download")
    page.wait_until((page.downloads / "large.bin").exists, "the download", timeout_s=120)
    assert hashlib.sha256(page.downloaded("large.bin")).digest() == wanted


def test_an_upload_is_paused_and_gone_on_with(page: Page, world: World, large: Path) -> None:
    _slow(page, 8 << 20)
    _pick(page, "Files to upload", large)
    page.wait_until(lambda: _sent(page) > 0.02, "some of it sent")
    page.press("Pause large.bin")
    page.wait_text("Paused at", ".uploads")
    page.shot("uploads")
    page.wait_until(lambda: page.rows() == [], "nothing of it in the list")
    _slow(page, -1)
    page.press("Go on with large.bin")
    page.wait_text("1 file uploaded", ".uploads", timeout_s=120)
    page.wait_rows("large.bin")


def test_an_upload_goes_on_after_the_page_was_closed(page: Page, world: World, large: Path) -> None:
    mount = world.mount()
    _slow(page, 16 << 20)
    _pick(page, "Files to upload", large)
    page.wait_until(lambda: _sent(page) > 0.3, "some of it sent")
    page.press("Pause large.bin")
    page.wait_text("Paused at", ".uploads")
    page.driver.refresh()
    page.wait_until(lambda: page.driver.find_elements("css selector", "input[type=file]"), "the page")
    _slow(page, 256 << 10)  # So that nothing else explains the progress.
    _pick(page, "Files to upload", large)
    page.wait_until(lambda: page.css(".uploads").is_displayed() and _sent(page) > 0.15, "what had arrived counts")
    _slow(page, -1)
    page.wait_text("1 file uploaded", ".uploads", timeout_s=120)
    assert (
        hashlib.sha256((mount.path / "large.bin").read_bytes()).digest() == hashlib.sha256(large.read_bytes()).digest()
    )


def test_an_upload_that_failed_is_tried_again(page: Page, here: Path) -> None:
    _offline(page, is_offline=True)
    _pick(page, "Files to upload", here / "note.txt")
    page.wait_text("The server does not answer.", ".uploads")
    _offline(page, is_offline=False)
    page.press("Try note.txt again")
    page.wait_text("1 file uploaded", ".uploads")
    page.wait_rows("note.txt")


@pytest.mark.parametrize(
    ("choice", "left"),
    [
        ("Replace note.txt", {"note.txt": "remember"}),
        ("Keep both of note.txt", {"note.txt": "old", "note (2).txt": "remember"}),
        ("Remove note.txt", {"note.txt": "old"}),
    ],
)
def test_a_name_that_is_taken_is_asked_about(
    page: Page, world: World, here: Path, choice: str, left: dict[str, str]
) -> None:
    mount = world.mount()
    (mount.path / "note.txt").write_text("old")
    page.wait_rows("note.txt")
    _pick(page, "Files to upload", here / "note.txt")
    page.wait_text("There is a file of this name.", ".uploads")
    page.press(choice)
    page.wait_until(lambda: _tree(mount.path) == left, f"{left} on the mount")


def test_many_files_are_uploaded_with_three_at_a_time(page: Page, world: World, tmp_path: Path) -> None:
    mount = world.mount()
    (tmp_path / "many").mkdir()
    for number in range(150):
        (tmp_path / "many" / f"{number}.txt").write_text(f"file {number}")
    _pick(page, "Folder to upload", tmp_path / "many")
    page.wait_text("150 files uploaded", ".uploads", timeout_s=60)
    assert len(os.listdir(mount.path / "many")) == 150


def test_who_may_only_look_is_offered_no_change(page: Page, world: World, here: Path) -> None:
    (world.folder / "password").write_text("a long one")
    world.admin.run("user", "add", "vera", "--password-file", str(world.folder / "password"))
    world.admin.run("workspace", "share", world.workspace, "vera", "--role", "viewer")
    mount = world.mount()
    (mount.path / "note.txt").write_text("old")
    page.press("Log out admin")
    page.login("vera", "a long one")
    page.choose_shared("admin", world.workspace)
    page.wait_rows("note.txt")
    page.select("note.txt")
    assert page.offers("Download")
    assert not any(page.offers(label) for label in ("Delete", "Rename", "Move", "Copy"))
    page.drop(".items", here / "trip" / "plan.txt")
    page.wait_rows("note.txt")
    assert not page.css(".uploads").is_displayed()


def _sent(page: Page) -> float:
    return float(page.script("return document.querySelector('.uploads li progress').value"))


def _slow(page: Page, upload_bytes_s: int) -> None:
    """Let the browser send no faster; -1: as fast as it can."""
    page.driver.execute_cdp_cmd("Network.enable", {})
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": upload_bytes_s}
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)


def _offline(page: Page, *, is_offline: bool) -> None:
    page.driver.execute_cdp_cmd("Network.enable", {})
    conditions = {"offline": is_offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
