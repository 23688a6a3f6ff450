"""End-to-end workspaces in the page: unlocked with their passphrase, read by blocks that are opened there."""

from __future__ import annotations

import random
import wave
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.driving import NARROW, Page, findings
from tests.browser.pictures import Colour, png
from tests.real.harness import Mount
from tests.real.world import World

PASSPHRASE: Final = "seven grey cats, Käse"
SECONDS: Final = 120
RATE: Final = 44_100


class Sealed(NamedTuple):
    """An end-to-end workspace, a mount of it, and the page before its passphrase is known there."""

    page: Page
    mount: Mount
    name: str

    @property
    def path(self) -> Path:
        """Where it is mounted."""
        return self.mount.path

    def unlock(self, passphrase: str = PASSPHRASE) -> None:
        """Type a passphrase."""
        field = self.page.field("Passphrase")
        field.clear()
        field.send_keys(passphrase, Keys.ENTER)

    def open(self) -> None:
        """Unlock it, and wait for its files."""
        self.mount.wait()
        self.unlock()
        self.page.wait_until(lambda: self.page.crumbs() == [self.name], "the files")

    def content(self, name: str, content: bytes) -> None:
        """A file."""
        (self.path / name).write_bytes(content)


@pytest.fixture
def sealed(page: Page, world: World) -> Sealed:
    name = f"{world.workspace}-sealed"
    file = world.folder / "passphrase"
    file.write_text(PASSPHRASE)
    world.admin.run("workspace", "create", name, "--end-to-end", "--passphrase-file", str(file))
    mount = world.mount("laptop", "--passphrase-file", str(file), workspace=name)
    page.driver.refresh()
    page.field("Workspace").send_keys(name)
    page.field("Passphrase")
    return Sealed(page, mount, name)


def _grey(x: int, y: int) -> Colour:
    return 90, 100, 110


# ── the passphrase ──


def test_a_wrong_passphrase_is_told_and_the_right_one_opens_names(sealed: Sealed) -> None:
    sealed.content("Ärger ☃.txt", b"what about it")
    (sealed.path / "box").mkdir()
    sealed.mount.wait()
    sealed.unlock("six grey cats")
    sealed.page.wait_text("That is not the passphrase of this workspace.")
    sealed.open()
    sealed.page.wait_rows("box", "Ärger ☃.txt")
    sealed.page.open_row("Ärger ☃.txt")
    sealed.page.wait_text("what about it", "dialog pre")


def test_a_reloaded_page_has_forgotten_the_passphrase_and_goes_on_where_it_was(sealed: Sealed) -> None:
    (sealed.path / "box" / "inner").mkdir(parents=True)
    sealed.content("box/inner/a.txt", b"deep")
    sealed.open()
    sealed.page.open_row("box")
    sealed.page.wait_rows("inner")
    sealed.page.open_row("inner")
    sealed.page.wait_rows("a.txt")
    assert sealed.page.crumbs() == [sealed.name, "box", "inner"]
    assert "inner" not in sealed.page.driver.current_url
    sealed.page.driver.refresh()
    sealed.unlock()
    sealed.page.wait_rows("a.txt")
    assert sealed.page.crumbs() == [sealed.name, "box", "inner"]


def test_the_passphrase_is_kept_nowhere_and_sent_nowhere(sealed: Sealed, world: World) -> None:
    sealed.content("a.txt", b"x")
    sealed.page.driver.execute_cdp_cmd("Network.enable", {})
    sealed.page.script("""
        window.sent = [];
        const [fetched, posted] = [window.fetch, XMLHttpRequest.prototype.send];
        window.fetch = (...given) => { window.sent.push(JSON.stringify(given)); return fetched(...given); };
        XMLHttpRequest.prototype.send = function (body) { window.sent.push(String(body)); posted.call(this, body); };
    """)
    sealed.open()
    sealed.page.wait_rows("a.txt")
    sent = sealed.page.script("return window.sent")
    kept = sealed.page.script("return JSON.stringify([{...sessionStorage}, {...localStorage}, location.href])")
    assert sent
    for text in (*sent, kept, world.server.log.text()):
        assert "grey cats" not in text
    assert sealed.page.script("return document.body.innerHTML").find("grey cats") == -1


def test_a_log_out_locks_it(sealed: Sealed, world: World) -> None:
    sealed.content("a.txt", b"x")
    sealed.open()
    sealed.page.wait_rows("a.txt")
    sealed.page.press("Log out admin")
    sealed.page.login("admin", world.server.admin_password_file.read_text().strip())
    sealed.page.field("Passphrase")


# ── contents ──


def test_pictures_are_shown(sealed: Sealed) -> None:
    sealed.content("1.png", png(60, 40, _grey))
    sealed.open()
    sealed.page.open_row("1.png")
    sealed.page.wait_picture(60)
    assert "/opened/" in str(sealed.page.css("dialog img").get_attribute("src"))


def test_a_file_of_many_blocks_with_holes_is_downloaded_whole(sealed: Sealed) -> None:
    numbers = random.Random(4)
    content = numbers.randbytes(5_000_000) + b"compressible " * 400_000
    with (sealed.path / "large.bin").open("wb") as file:
        file.write(content[:9_000_000])
        file.seek(12_000_000)
        file.write(content[-1_000:])
    sealed.open()
    sealed.page.select("large.bin")
    sealed.page.press("Download")
    assert sealed.page.downloaded("large.bin") == content[:9_000_000] + bytes(3_000_000) + content[-1_000:]


def test_audio_is_sought_in_by_ranges(sealed: Sealed) -> None:
    with wave.open(str(sealed.path / "quiet.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(random.Random(5).randbytes(2 * RATE * SECONDS))
    sealed.open()
    sealed.page.open_row("quiet.wav")
    sealed.page.css("dialog audio")
    assert sealed.page.seek(100) == [SECONDS, 100]


def test_content_is_shown_and_downloaded_without_a_service_worker(sealed: Sealed) -> None:
    sealed.content("1.png", png(60, 40, _grey))
    driver = sealed.page.driver
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.setBypassServiceWorker", {"bypass": True})
    driver.refresh()
    sealed.open()
    sealed.page.open_row("1.png")
    sealed.page.wait_picture(60)
    sealed.page.press("Download")
    assert sealed.page.downloaded("1.png") == png(60, 40, _grey)
    driver.execute_cdp_cmd("Network.setBypassServiceWorker", {"bypass": False})


def test_an_old_version_is_looked_at_and_restored(sealed: Sealed) -> None:
    sealed.content("a.txt", b"first")
    sealed.mount.wait()
    sealed.content("a.txt", b"second")
    sealed.open()
    sealed.page.select("a.txt")
    sealed.page.press("History")
    sealed.page.press("Look at version 1")
    sealed.page.wait_text("first", "dialog pre")
    sealed.page.press("Restore version 1")
    sealed.page.wait_note("a.txt is as it was in version 1")
    assert (sealed.path / "a.txt").read_text() == "first"


def test_an_address_of_a_content_opens_nothing_by_itself(sealed: Sealed) -> None:
    sealed.content("evil.html", b"<script>document.title = 'hacked'</script>")
    sealed.open()
    sealed.page.wait_rows("evil.html")
    path = sealed.page.script("""
        return performance.getEntriesByType("resource").map(({name}) => name).find((name) => name.includes("/folders/"))
    """)
    workspace = str(path).split("/")[5]
    sealed.page.driver.get(f"{sealed.page.url}/opened/{workspace}/files/anything")
    assert sealed.page.text("body") == "Open this from the page."


def test_a_damaged_block_is_told_and_not_shown(sealed: Sealed, world: World) -> None:
    def stored() -> set[Path]:
        return {path for path in (world.server.data / "blocks").rglob("*") if path.is_file()}

    before = stored()
    sealed.content("a.txt", b"".join(b"%d\n" % number for number in range(200_000)))
    sealed.mount.wait()
    for path in stored() - before:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    sealed.open()
    sealed.page.open_row("a.txt")
    sealed.page.wait_text("A block of this file does not open: it is damaged.", "dialog")


# ── changes ──


def test_what_a_later_key_sealed_is_opened_when_it_is_unlocked_again(sealed: Sealed, world: World) -> None:
    sealed.content("before.txt", b"before it")
    sealed.open()
    passphrase = ("--passphrase-file", str(world.folder / "passphrase"), "--keep-passphrase")
    sealed.mount.device.run("workspace", "rotate-key", sealed.name, *passphrase)
    sealed.mount.remount()
    sealed.content("after.txt", b"after it")
    sealed.page.wait_rows("after.txt", "before.txt")
    sealed.page.open_row("after.txt")
    sealed.page.wait_text(
        "This is under a key that is not unlocked here: reload the page and unlock the workspace again."
    )
    sealed.page.driver.refresh()
    sealed.unlock()
    sealed.page.wait_rows("after.txt", "before.txt")
    sealed.page.open_row("after.txt")
    sealed.page.wait_text("after it", "dialog pre")


def test_what_is_made_renamed_and_deleted_in_the_page_is_so_on_a_mount(sealed: Sealed) -> None:
    sealed.content("a.txt", b"x")
    sealed.open()
    page = sealed.page
    page.press("New folder")
    page.answer("Fotos für dich")
    page.wait_rows("Fotos für dich", "a.txt")
    page.select("a.txt")
    page.press("Rename")
    page.answer("ä.txt")
    page.wait_rows("Fotos für dich", "ä.txt")
    page.select("ä.txt")
    page.press("Move")
    page.wait_text("Fotos für dich", "dialog .folders")
    page.css("dialog .folders button").click()
    page.wait_text("No folders in here.", "dialog")
    page.press("Move here")
    page.wait_rows("Fotos für dich")
    assert [str(path.relative_to(sealed.path)) for path in sealed.path.rglob("*")] == [
        "Fotos für dich",
        "Fotos für dich/ä.txt",
    ]
    page.open_row("Fotos für dich")
    page.select("ä.txt")
    page.press("Delete")
    page.wait_rows()
    page.go("Trash")
    page.wait_text("ä.txt", "main li")
    assert "Fotos für dich" in page.text("main li")
    page.press("Put back ä.txt")
    page.wait_text("The trash is empty.")
    assert (sealed.path / "Fotos für dich" / "ä.txt").read_text() == "x"


def test_what_a_mount_changes_appears_at_once(sealed: Sealed) -> None:
    sealed.open()
    sealed.page.wait_text("Nothing here yet.")
    sealed.content("new.txt", b"x")
    (sealed.path / "way").symlink_to("../some/where")
    sealed.page.wait_rows("new.txt", "way")
    sealed.page.open_row("way")
    sealed.page.wait_note("way is a link to ../some/where.")


def test_a_conflict_is_shown_and_ended(sealed: Sealed, world: World) -> None:
    phone = world.mount("phone", "--passphrase-file", str(world.folder / "passphrase"), workspace=sealed.name)
    sealed.content("notes.txt", b"old")
    with (phone.path / "notes.txt").open("r+") as file:
        file.write("of the phone")
        sealed.content("notes.txt", b"of the laptop")
    sealed.open()
    page = sealed.page
    page.wait_until(lambda: len(page.rows()) == 2, "the copy")
    assert any(name.startswith("notes (conflict from phone ") and name.endswith(").txt") for name in page.rows())
    page.go("Conflicts")
    page.wait_text("From phone")
    assert [side.text for side in page.all_css(".sides pre")] == ["of the laptop", "of the phone"]
    page.press("Keep this one, the conflict copy of notes.txt")
    page.wait_text("There are no conflicts.")
    assert {path.name: path.read_text() for path in sealed.path.iterdir()} == {"notes.txt": "of the phone"}


# ── what isn't possible ──


def test_what_would_take_the_key_at_the_server_is_not_offered(sealed: Sealed, tmp_path: Path) -> None:
    sealed.content("a.txt", b"x")
    (sealed.path / "box").mkdir()
    (tmp_path / "brought.txt").write_text("x")
    sealed.open()
    page = sealed.page
    page.wait_rows("box", "a.txt")
    page.wait_text("files are added on a mount")
    assert not any(page.offers(label) for label in ("Upload files", "Upload a folder", "Download all"))
    assert not page.field("Search by name").is_enabled()
    page.select("a.txt", "box")
    assert not any(page.offers(label) for label in ("Link", "Download"))
    page.drop(".items", tmp_path / "brought.txt")
    page.press("Share")
    page.wait_text("give members its passphrase yourself", "dialog")
    assert not page.offers("Make a link")
    assert sorted(path.name for path in sealed.path.iterdir()) == ["a.txt", "box"]


def _locked(sealed: Sealed) -> None:
    sealed.unlock("six grey cats")
    sealed.page.wait_text("That is not")


def _files(sealed: Sealed) -> None:
    sealed.open()
    sealed.page.wait_rows("box", "1.png")


VIEWS = {"locked": _locked, "files": _files}


@pytest.mark.parametrize("name", VIEWS)
def test_nothing_serious_keeps_anybody_from_using_it(sealed: Sealed, axe: str, name: str) -> None:
    sealed.content("1.png", png(60, 40, _grey))
    (sealed.path / "box").mkdir()
    sealed.mount.wait()
    VIEWS[name](sealed)
    page = sealed.page
    page.settle()
    page.shot(f"sealed-{name}-light")
    found = {"light": findings(page, axe)}
    with page.dark():
        page.shot(f"sealed-{name}-dark")
        found["dark"] = findings(page, axe)
    with page.window(NARROW):
        page.shot(f"sealed-{name}-narrow")
        overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.script(overflow) == 0
        found["narrow"] = findings(page, axe)
    assert found == {"light": [], "dark": [], "narrow": []}
