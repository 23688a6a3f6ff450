"""Links: made and revoked in the page, and what a browser shows at their addresses to who has no account."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.driving import NARROW, Page, findings
from tests.browser.pictures import Colour, png
from tests.real.harness import Mount
from tests.real.world import World


def _teal(x: int, y: int) -> Colour:
    return 20, 130, 130


@pytest.fixture
def mount(world: World) -> Mount:
    return world.mount("laptop")


def _begin(page: Page, name: str) -> None:
    """The dialog about an item's links."""
    page.select(name)
    page.press("Link")
    page.field("Password")


def _made(page: Page) -> str:
    """The address of the link that the open dialog asks for."""
    page.press("Make a link")
    page.css("dialog .made input")
    return str(page.script("return document.querySelector('dialog .made input').value"))


def _link(page: Page, name: str) -> str:
    _begin(page, name)
    return _made(page)


def _upload_link(page: Page, name: str) -> str:
    _begin(page, name)
    page.field("Whoever has it may").send_keys("bring files")
    return _made(page)


def _guest(page: Page, address: str) -> None:
    """Somebody without an account opens an address."""
    page.script("sessionStorage.clear(); localStorage.clear()")
    page.driver.get("about:blank")
    page.driver.get(address)
    page.css("main h1")


def _unlock(page: Page, password: str) -> None:
    field = page.field("Password")
    field.clear()
    field.send_keys(password, Keys.ENTER)


def _log_in(page: Page, world: World) -> None:
    page.open()
    page.login("admin", world.server.admin_password_file.read_text().strip())


# ── for those who share ──


def test_a_link_is_made_copied_listed_and_revoked(page: Page, mount: Mount) -> None:
    (mount.path / "a.txt").write_text("for you")
    page.wait_rows("a.txt")
    _begin(page, "a.txt")
    page.field("It ends").send_keys("in 7 days")
    page.field("Password").send_keys("sesame")
    page.field("Fetched at most so often").send_keys("3")
    address = _made(page)
    assert address.startswith(f"{page.url}/v1/links/")
    page.wait_text("with a password", "dialog .links")
    assert "fetched 0 of 3" in page.text("dialog .links")
    permission = {"origin": page.url, "permission": {"name": "clipboard-write"}, "setting": "granted"}
    page.driver.execute_cdp_cmd("Browser.setPermission", permission)
    page.press("Copy")
    page.wait_note("The address is copied")
    page.press("Revoke the link to a.txt")
    page.press("Revoke")
    page.wait_note("is revoked")
    page.wait_gone("dialog .links li")


def test_all_links_of_a_workspace_are_in_its_share_dialog_with_their_counts(
    page: Page, mount: Mount, world: World
) -> None:
    (mount.path / "box").mkdir()
    (mount.path / "box" / "a.txt").write_text("for you")
    mount.wait()
    page.wait_rows("box")
    page.open_row("box")
    page.wait_rows("a.txt")
    _guest(page, _link(page, "a.txt"))
    page.wait_text("for you", "main pre")
    _log_in(page, world)
    page.choose(world.workspace)
    page.press("Share")
    page.wait_text("box / a.txt", "dialog .links")
    assert "fetched 1" in page.text("dialog .links")


def test_the_whole_workspace_is_linked_to_from_its_share_dialog(page: Page, mount: Mount) -> None:
    (mount.path / "a.txt").write_text("for you")
    page.press("Share")
    page.field("Password")
    _guest(page, _made(page))
    assert page.text("main h1") == "Shared files"
    page.wait_rows("a.txt")


def test_a_viewer_is_offered_no_links(page: Page, mount: Mount, world: World) -> None:
    (mount.path / "a.txt").write_text("for you")
    mount.wait()
    (world.folder / "password").write_text("a long one")
    world.admin.run("user", "add", "vera", "--password-file", str(world.folder / "password"))
    world.admin.run("workspace", "share", world.workspace, "vera", "--role", "viewer")
    page.press("Log out admin")
    page.login("vera", "a long one")
    page.choose_shared("admin", world.workspace)
    page.select("a.txt")
    assert not page.offers("Link")
    page.press("Share")
    page.wait_text("shares it", "dialog")
    assert not page.offers("Make a link")


# ── for whoever has one ──


def test_a_linked_text_is_shown_and_downloaded(page: Page, mount: Mount) -> None:
    (mount.path / "a.txt").write_text("for you")
    page.wait_rows("a.txt")
    _guest(page, _link(page, "a.txt"))
    assert page.text("main h1") == "a.txt"
    page.wait_text("for you", "main pre")
    page.press("Download")
    assert page.downloaded("a.txt") == b"for you"


def test_a_linked_folder_is_browsed_and_fetched_as_a_zip(page: Page, mount: Mount) -> None:
    (mount.path / "box" / "inner").mkdir(parents=True)
    (mount.path / "box" / "1.png").write_bytes(png(40, 20, _teal))
    (mount.path / "box" / "inner" / "b.txt").write_text("deep")
    page.wait_rows("box")
    _guest(page, _link(page, "box"))
    page.wait_rows("inner", "1.png")
    page.open_row("1.png")
    page.wait_picture(40)
    assert not page.offers("History")
    page.keys(Keys.ESCAPE)
    page.open_row("inner")
    page.wait_rows("b.txt")
    page.driver.back()
    page.wait_rows("inner", "1.png")
    page.select("1.png")
    assert not any(page.offers(label) for label in ("Rename", "Move", "Copy", "Delete", "Link"))
    page.press("Download")
    assert page.downloaded("1.png") == png(40, 20, _teal)
    page.select()
    page.press("Download all")
    with zipfile.ZipFile(io.BytesIO(page.downloaded("box.zip"))) as archive:
        assert sorted(archive.namelist()) == ["box/1.png", "box/inner/", "box/inner/b.txt"]


def test_an_address_leads_nowhere_but_below_what_its_link_leads_to(page: Page, mount: Mount) -> None:
    for folder, name in (("mine", "mine.txt"), ("theirs", "theirs.txt")):
        (mount.path / folder).mkdir()
        (mount.path / folder / name).write_text("text")
    page.wait_rows("mine", "theirs")
    mine = _link(page, "mine")
    page.keys(Keys.ESCAPE)
    theirs = _link(page, "theirs")
    for up in ("..", "%2e%2E"):
        _guest(page, f"{mine}#{up}/{up}/{theirs.rpartition('/')[2]}/folders/")
        page.wait_rows("mine.txt")


def test_a_password_is_asked_for_and_goes_with_pictures_and_downloads(page: Page, mount: Mount) -> None:
    (mount.path / "1.png").write_bytes(png(40, 20, _teal))
    page.wait_rows("1.png")
    _begin(page, "1.png")
    page.field("Password").send_keys("ßesam")
    _guest(page, _made(page))
    assert page.text("main h1") == "This link has a password"
    _unlock(page, "guess")
    page.wait_text("That is not this link's password.")
    _unlock(page, "ßesam")
    width = "return document.querySelector('main img')?.naturalWidth"
    page.wait_until(lambda: page.script(width) == 40, "the picture")
    page.press("Download")
    assert page.downloaded("1.png") == png(40, 20, _teal)
    assert page.script("return sessionStorage.length + localStorage.length") == 0
    page.driver.refresh()
    page.field("Password")


def test_an_address_of_a_content_with_a_password_leads_to_the_page(page: Page, mount: Mount) -> None:
    (mount.path / "a.txt").write_text("for you")
    page.wait_rows("a.txt")
    _begin(page, "a.txt")
    page.field("Password").send_keys("sesame")
    address = _made(page)
    page.driver.get(f"{address}/files/")
    page.field("Password")
    assert page.driver.current_url == address


def test_files_are_brought_and_nothing_is_seen(page: Page, mount: Mount, tmp_path: Path) -> None:
    (mount.path / "inbox").mkdir()
    (mount.path / "inbox" / "secret.txt").write_text("not for you")
    page.wait_rows("inbox")
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "1.png").write_bytes(png(40, 20, _teal))
    (tmp_path / "secret.txt").write_text("mine")
    _guest(page, _upload_link(page, "inbox"))
    assert page.text("main h1") == "Bring files to inbox"
    page.drop(".inbox", tmp_path / "album", tmp_path / "secret.txt")
    page.wait_text("2 files uploaded")
    assert not page.offers("Download")
    mount.wait()
    found = {path.name: path.read_bytes() for path in (mount.path / "inbox").iterdir()}
    assert found == {"secret.txt": b"not for you", "secret (2).txt": b"mine", "1.png": png(40, 20, _teal)}


def test_what_is_over_looks_like_what_never_was(page: Page, mount: Mount) -> None:
    (mount.path / "a.txt").write_text("for you")
    page.wait_rows("a.txt")
    revoked = _link(page, "a.txt")
    page.press("Revoke the link to a.txt")
    page.press("Revoke")
    page.wait_gone("dialog .links li")
    page.field("Fetched at most so often").send_keys("1")
    used_up = _made(page)
    _guest(page, used_up)
    page.wait_text("It can be used 1 more time")
    page.press("Look at it here")
    page.wait_text("for you", "main pre")
    said = set()
    for address in (revoked, used_up, f"{page.url}/v1/links/made-up"):
        _guest(page, address)
        said.add(page.text("main"))
    assert len(said) == 1
    assert "This link leads nowhere" in said.pop()


def test_a_link_that_ends_while_it_is_open_says_so(page: Page, mount: Mount) -> None:
    (mount.path / "box").mkdir()
    (mount.path / "box" / "a.txt").write_text("for you")
    page.wait_rows("box")
    _guest(page, _link(page, "box"))
    page.wait_rows("a.txt")
    (mount.path / "box" / "a.txt").unlink()
    (mount.path / "box").rmdir()
    mount.wait()
    page.press("Download all")
    page.wait_note("The download failed: There is no such link.")


def test_the_secret_is_in_no_log_and_kept_by_no_cache(page: Page, mount: Mount, world: World) -> None:
    (mount.path / "a.txt").write_text("for you")
    page.wait_rows("a.txt")
    address = _link(page, "a.txt")
    secret = address.rsplit("/", 1)[1]
    _guest(page, address)
    page.wait_text("for you", "main pre")
    assert secret not in world.server.log.text()
    headers = page.driver.execute_async_script(
        "const [url, done] = arguments; fetch(url, {headers: {Accept: 'text/html'}})"
        ".then(({headers}) => done(Object.fromEntries(headers)))",
        address,
    )
    assert "no-store" in headers["cache-control"]
    assert headers["referrer-policy"] == "no-referrer"
    assert "script-src 'self'" in headers["content-security-policy"]
    kept = page.driver.execute_async_script("caches.keys().then(arguments[0])")
    assert kept == []


# ── for everybody ──


def _dialog(page: Page) -> None:
    _link(page, "Photos")


def _file(page: Page) -> None:
    _guest(page, _link(page, "Lake.png"))
    page.css("main img")


def _folder(page: Page) -> None:
    _guest(page, _link(page, "Photos"))
    page.wait_rows("inner", "1.png")


def _inbox(page: Page) -> None:
    _guest(page, _upload_link(page, "Photos"))


def _password(page: Page) -> None:
    _begin(page, "Photos")
    page.field("Password").send_keys("sesame")
    _guest(page, _made(page))
    _unlock(page, "guess")
    page.wait_text("That is not")


def _over(page: Page) -> None:
    _guest(page, f"{page.url}/v1/links/made-up")


VIEWS = {"dialog": _dialog, "file": _file, "folder": _folder, "inbox": _inbox, "password": _password, "over": _over}


@pytest.mark.parametrize("name", VIEWS)
def test_nothing_serious_keeps_anybody_from_using_a_link(page: Page, mount: Mount, axe: str, name: str) -> None:
    (mount.path / "Photos" / "inner").mkdir(parents=True)
    for place in ("Lake.png", "Photos/1.png"):
        (mount.path / place).write_bytes(png(400, 260, _teal))
    mount.wait()
    page.wait_rows("Photos", "Lake.png")
    VIEWS[name](page)
    page.settle()
    page.shot(f"link-{name}-light")
    found = {"light": findings(page, axe)}
    with page.dark():
        page.shot(f"link-{name}-dark")
        found["dark"] = findings(page, axe)
    with page.window(NARROW):
        page.shot(f"link-{name}-narrow")
        overflow = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.script(overflow) == 0
        found["narrow"] = findings(page, axe)
    assert found == {"light": [], "dark": [], "narrow": []}
