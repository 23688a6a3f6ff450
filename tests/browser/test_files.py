"""Files and folders: looking, sorting, the keyboard, search, and every change with its undoing."""

from __future__ import annotations

import io
import zipfile

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.driving import Page
from tests.real.harness import Mount
from tests.real.world import World


@pytest.fixture
def mount(world: World) -> Mount:
    """The workspace as another device has it, with a little in it."""
    mount = world.mount("laptop")
    (mount.path / "photos" / "summer").mkdir(parents=True)
    (mount.path / "photos" / "summer" / "lake.txt").write_text("blue")
    (mount.path / "a10.txt").write_text("ten" * 100)
    (mount.path / "a2.txt").write_text("two")
    return mount


@pytest.fixture
def files(mount: Mount, page: Page) -> Page:
    """The page at the workspace's root."""
    page.wait_rows("photos", "a2.txt", "a10.txt")
    return page


# ── looking ──


def test_folders_are_gone_into_and_out_of_by_crumbs(files: Page) -> None:
    files.open_row("photos")
    files.wait_rows("summer")
    files.open_row("summer")
    files.wait_rows("lake.txt")
    assert files.crumbs()[1:] == ["photos", "summer"]
    files.press("photos")
    files.wait_rows("summer")
    files.driver.back()
    files.wait_rows("lake.txt")


def test_an_address_of_a_folder_leads_there_after_a_log_in(files: Page, world: World) -> None:
    files.open_row("photos")
    files.wait_rows("summer")
    address = files.driver.current_url
    files.press("Log out admin")
    files.login("admin", world.server.admin_password_file.read_text().strip())
    files.wait_rows("summer")
    assert files.driver.current_url == address


def test_a_column_is_sorted_by_up_and_down(files: Page) -> None:
    files.press("Size")
    files.wait_rows("photos", "a10.txt", "a2.txt")
    assert files.css("th.size").get_attribute("aria-sort") == "descending"
    files.press("Size")
    files.wait_rows("photos", "a2.txt", "a10.txt")
    files.press("Name")
    files.press("Name")
    files.wait_rows("photos", "a10.txt", "a2.txt")


def test_the_keyboard_does_all_that_the_mouse_does(files: Page, mount: Mount) -> None:
    files.keys(Keys.ARROW_DOWN)
    assert files.selected() == ["a2.txt"]
    files.keys(Keys.ARROW_UP, Keys.ENTER)
    files.wait_rows("summer")
    files.keys(Keys.BACKSPACE)
    files.wait_rows("photos", "a2.txt", "a10.txt")
    assert files.script("return document.activeElement.querySelector('.label').textContent") == "photos"
    with files.held(Keys.SHIFT):
        files.keys(Keys.END)
    assert files.selected() == ["photos", "a2.txt", "a10.txt"]
    files.keys(Keys.ESCAPE, Keys.END, Keys.F2)
    files.answer("a3.txt")
    files.wait_rows("photos", "a2.txt", "a3.txt")
    files.keys(Keys.DELETE)
    files.wait_rows("photos", "a2.txt")
    with files.held(Keys.CONTROL):
        files.keys("z")
    files.wait_rows("photos", "a2.txt", "a3.txt")


def test_typing_a_name_leads_to_it_and_a_slash_to_the_search(files: Page) -> None:
    files.keys("a")
    assert files.selected() == ["a2.txt"]
    files.keys("/")
    files.keys("lake", Keys.ENTER)
    files.wait_rows("lake.txt")
    assert "photos / summer" in files.text("tbody")
    files.wait_text('1 item with "lake" in the name')


def test_a_folder_of_thousands_is_shown_as_far_as_one_looks(world: World, page: Page) -> None:
    mount = world.mount("laptop")
    (mount.path / "many").mkdir()
    for number in range(1, 1301):
        (mount.path / "many" / f"{number}").touch()
    mount.wait()
    page.wait_rows("many")
    page.open_row("many")
    page.wait_until(lambda: page.rows()[:2] == ["1", "2"], "the first rows")
    assert len(page.rows()) < 1000
    page.keys(Keys.END)
    page.wait_until(lambda: page.rows()[-1] == "1300", "the last row")
    assert page.selected() == ["1300"]


# ── changing ──


def test_a_folder_is_made_and_unmade(files: Page, mount: Mount) -> None:
    files.press("New folder")
    files.answer("a/b")
    files.wait_text("A name can't contain a slash.")
    files.answer("plans")
    files.wait_rows("photos", "plans", "a2.txt", "a10.txt")
    assert (mount.path / "plans").is_dir()
    files.press("Undo")
    files.wait_rows("photos", "a2.txt", "a10.txt")
    assert not (mount.path / "plans").exists()


def test_a_name_that_is_taken_is_told(files: Page) -> None:
    files.press("New folder")
    files.answer("photos")
    files.wait_note("The folder was not made:")
    files.shot("refused")


def test_a_file_is_renamed_and_named_back(files: Page, mount: Mount) -> None:
    files.select("a2.txt")
    files.press("Rename")
    files.answer("first.txt")
    files.wait_rows("photos", "a10.txt", "first.txt")
    assert (mount.path / "first.txt").read_text() == "two"
    files.press("Undo")
    files.wait_rows("photos", "a2.txt", "a10.txt")


def test_files_are_moved_by_the_folder_dialog_and_back(files: Page, mount: Mount) -> None:
    files.select("a2.txt", "a10.txt")
    files.press("Move")
    files.wait_text("Move 2 items", "dialog")
    files.css("dialog .folders button").click()
    files.wait_text("photos", "dialog .where")
    files.shot("move")
    files.press("Move here")
    files.wait_rows("photos")
    assert (mount.path / "photos" / "a2.txt").read_text() == "two"
    files.press("Undo")
    files.wait_rows("photos", "a2.txt", "a10.txt")


def test_files_are_dragged_into_a_folder_and_up_by_a_crumb(files: Page, mount: Mount) -> None:
    files.select("a2.txt", "a10.txt")
    files.drag(files.row("a2.txt"), files.row("photos"))
    files.wait_rows("photos")
    files.open_row("photos")
    files.wait_rows("summer", "a2.txt", "a10.txt")
    files.drag(files.row("a10.txt"), files.css("main .crumbs a"))
    files.wait_rows("summer", "a2.txt")
    assert (mount.path / "a10.txt").read_text() == "ten" * 100


def test_a_copy_beside_its_original_gets_another_name(files: Page, mount: Mount) -> None:
    files.select("a2.txt")
    files.press("Copy")
    files.press("Copy here")
    files.wait_rows("photos", "a2 (2).txt", "a2.txt", "a10.txt")
    assert (mount.path / "a2 (2).txt").read_text() == "two"


def test_what_is_deleted_comes_back_by_undo_with_all_that_was_in_it(files: Page, mount: Mount) -> None:
    files.select("photos", "a2.txt")
    files.press("Delete")
    files.wait_text("Delete 2 items?", "dialog")
    files.css("dialog button.danger").click()
    files.wait_rows("a10.txt")
    assert not (mount.path / "photos").exists()
    files.press("Undo")
    files.wait_rows("photos", "a2.txt", "a10.txt")
    assert (mount.path / "photos" / "summer" / "lake.txt").read_text() == "blue"


def test_what_is_deleted_is_in_the_trash_and_can_be_put_back(files: Page, mount: Mount) -> None:
    files.select("a2.txt")
    files.press("Delete")
    files.wait_rows("photos", "a10.txt")
    files.go("Trash")
    files.wait_text("a2.txt", "main")
    files.shot("trash")
    files.press("Put back a2.txt")
    files.wait_text("The trash is empty.")
    assert (mount.path / "a2.txt").read_text() == "two"


# ── downloading ──


def test_a_file_is_downloaded(files: Page) -> None:
    files.select("a10.txt")
    files.press("Download")
    assert files.downloaded("a10.txt") == b"ten" * 100


def test_a_folder_is_downloaded_as_a_zip(files: Page) -> None:
    files.select("photos")
    files.press("Download")
    with zipfile.ZipFile(io.BytesIO(files.downloaded("photos.zip"))) as archive:
        assert {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")} == {
            "photos/summer/lake.txt": b"blue"
        }


# ── history ──


def test_an_earlier_version_is_downloaded(files: Page, mount: Mount) -> None:
    (mount.path / "a2.txt").write_text("three")
    files.wait_until(lambda: "5 bytes" in files.row("a2.txt").text, "the new size")
    files.select("a2.txt")
    files.press("History")
    files.press("Download version 1")
    assert files.downloaded("a2.txt") == b"two"


def test_an_earlier_version_is_looked_at_and_restored(files: Page, mount: Mount) -> None:
    (mount.path / "a2.txt").write_text("three")
    files.wait_until(lambda: "5 bytes" in files.row("a2.txt").text, "the new size")
    files.select("a2.txt")
    files.press("History")
    files.press("Look at version 1")
    files.wait_text("two", "dialog pre")
    files.shot("history")
    files.press("Restore version 1")
    files.wait_note("a2.txt is as it was in version 1")
    assert (mount.path / "a2.txt").read_text() == "two"
    files.press("Undo")
    files.wait_note("Undone")
    assert (mount.path / "a2.txt").read_text() == "three"


# ── live ──


def test_what_a_mount_changes_appears_without_reload(files: Page, mount: Mount) -> None:
    files.select("a10.txt")
    (mount.path / "new.txt").write_text("here")
    files.wait_rows("photos", "a2.txt", "a10.txt", "new.txt")
    (mount.path / "new.txt").rename(mount.path / "photos" / "new.txt")
    (mount.path / "a2.txt").unlink()
    files.wait_rows("photos", "a10.txt")
    assert files.selected() == ["a10.txt"]


def test_what_a_mount_changes_elsewhere_moves_nothing_here(files: Page, mount: Mount) -> None:
    row = files.row("a2.txt")
    (mount.path / "photos" / "summer" / "more.txt").write_text("here")
    (mount.path / "z.txt").write_text("here")
    files.wait_rows("photos", "a2.txt", "a10.txt", "z.txt")
    assert files.row("a2.txt") == row


def test_a_server_that_is_gone_is_told_and_followed_again_when_it_is_back(
    own_world: World, browser, downloads, shots
) -> None:  # type: ignore[no-untyped-def]
    page = Page(browser, own_world.server.url, downloads, shots)
    page.open()
    page.login("admin", own_world.server.admin_password_file.read_text().strip())
    page.wait_until(lambda: page.crumbs() == ["home"], "the page")
    own_world.server.stop()
    page.wait_text("The server does not answer.", ".offline")
    own_world.server.start()
    page.wait_until(lambda: page.text(".offline") == "", "the server")
    page.press("New folder")
    page.answer("after")
    page.wait_rows("after")
