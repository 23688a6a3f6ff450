"""What is uploaded can't act on who looks at it: names, HTML, SVG, scripts; and where the token is and is not."""

from __future__ import annotations

import os

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.driving import Page
from tests.real.harness import Mount
from tests.real.world import World

SCRIPT = "window.hacked = true; document.title = 'hacked'; parent.hacked = true"
NAMES = [
    f'<img src=x onerror="{SCRIPT}">.txt',
    "'\"><script>window.hacked = true<&#47;script>.txt",
    "javascript:window.hacked=true.txt",
    "${window.hacked=true}{{window.hacked=true}}.txt",
    "a%2e%2e%2fb&amp;c?d#e.txt",
    "\u202egpj.exe\u202c \u0085.txt",
]
HTML = f"<!doctype html><img src=x onerror='{SCRIPT}'><script>{SCRIPT}</script>"
SVG = (
    f'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20" onload="{SCRIPT}">'
    f'<script>{SCRIPT}</script><rect width="40" height="20" fill="teal"/></svg>'
)


@pytest.fixture
def mount(world: World) -> Mount:
    return world.mount("mallory")


def _is_whole(page: Page) -> bool:
    return page.script("return window.hacked === undefined") is True and "hacked" not in page.driver.title


def _content(page: Page, name: str) -> str:
    """Where a file's content is."""
    workspace = page.script("return location.hash.split('/')[1]")
    return f"/v1/workspaces/{workspace}/files/{name}"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_text_wherever_it_is_shown(page: Page, mount: Mount, name: str) -> None:
    (mount.path / name).write_text("one")
    (mount.path / name).write_text("three")
    mount.wait()
    page.wait_rows(name)
    page.open_row(name)
    page.wait_text("three", "dialog pre")
    page.press("History")
    page.wait_text("Version 2", "dialog.history")
    page.keys(Keys.ESCAPE, Keys.ESCAPE)
    page.wait_gone("dialog")
    page.select(name)
    page.press("Rename")
    page.answer(f"{name}2")
    page.wait_rows(f"{name}2")
    page.select(f"{name}2")
    page.press("Delete")
    page.wait_rows()
    page.go("Trash")
    page.wait_until(lambda: f"{name}2" in page.script("return document.querySelector('main').textContent"), "the trash")
    page.press(f"Put back {name}2")
    page.wait_text("The trash is empty.")
    page.field("Search by name").send_keys(name[-7:], Keys.ENTER)
    page.wait_rows(f"{name}2")
    assert _is_whole(page)
    assert page.script("return document.querySelectorAll('main img, main script').length") == 0


def test_a_name_that_is_no_text_can_be_renamed_downloaded_and_deleted(page: Page, mount: Mount) -> None:
    (mount.path / os.fsdecode(b"caf\xe9.txt")).write_text("coffee")
    mount.wait()
    page.wait_rows("caf\ufffd.txt")
    page.open_row("caf\ufffd.txt")
    page.wait_text("coffee", "dialog pre")
    page.keys(Keys.ESCAPE)
    page.wait_gone("dialog")
    page.select("caf\ufffd.txt")
    page.press("Rename")
    page.answer("cafe.txt")
    page.wait_rows("cafe.txt")
    page.press("Undo")
    page.wait_rows("caf\ufffd.txt")
    assert os.listdir(os.fsencode(mount.path)) == [b"caf\xe9.txt"]


def test_html_is_shown_as_its_text(page: Page, mount: Mount) -> None:
    (mount.path / "evil.html").write_text(HTML)
    page.open_row("evil.html")
    page.wait_text("<script>", "dialog pre")
    assert _is_whole(page)


def test_svg_is_shown_as_a_picture_in_which_nothing_runs(page: Page, mount: Mount) -> None:
    (mount.path / "evil.svg").write_text(SVG)
    page.open_row("evil.svg")
    page.wait_picture(40)
    assert _is_whole(page)


@pytest.mark.parametrize("name", ["evil.html", "evil.svg"])
def test_a_file_is_never_opened_as_a_document_with_its_readers_rights(page: Page, mount: Mount, name: str) -> None:
    (mount.path / name).write_text(HTML if name.endswith("html") else SVG)
    mount.wait()
    page.wait_rows(name)
    content = _content(page, name)
    page.driver.set_script_timeout(30)
    page.driver.execute_async_script(
        "const [url, done] = arguments; const frame = document.createElement('iframe');"
        "frame.onload = () => done(); frame.src = url; document.body.append(frame);",
        content,
    )
    assert _is_whole(page)
    page.driver.get(f"{page.url}{content}")
    assert "Open this from the page." in page.text("body")
    assert page.script("return window.hacked === undefined")
    page.open()
    page.wait_until(lambda: page.offers("Log out admin"), "the page")


def test_content_comes_with_what_keeps_it_harmless(page: Page, mount: Mount) -> None:
    (mount.path / "evil.html").write_text(HTML)
    mount.wait()
    page.driver.set_script_timeout(30)
    headers = page.driver.execute_async_script(
        "const [url, done] = arguments; const {token} = JSON.parse(sessionStorage.getItem('samedrive.login'));"
        "fetch(url, {headers: {Authorization: `Bearer ${token}`}})"
        ".then(({headers}) => done([...headers.entries()]));",
        _content(page, "evil.html"),
    )
    found = dict(headers)
    assert "sandbox" in found["content-security-policy"]
    assert found["x-content-type-options"] == "nosniff"


def test_a_script_that_was_uploaded_is_not_loaded(page: Page, mount: Mount) -> None:
    (mount.path / "evil.js").write_text(SCRIPT)
    mount.wait()
    page.wait_rows("evil.js")
    page.driver.set_script_timeout(30)
    outcome = page.driver.execute_async_script(
        "const [url, done] = arguments; const policy = trustedTypes.defaultPolicy; const refused = [];"
        "const script = document.createElement('script');"
        "try { script.src = url; } catch (error) { refused.push(error.name); }"
        "navigator.serviceWorker.register(url).catch((error) => refused.push(error.name)).then(() => done(refused));",
        _content(page, "evil.js"),
    )
    assert outcome == ["TypeError", "TypeError"]
    assert _is_whole(page)
    assert page.complaints() != []  # The policy's, which the browser tells of.


def test_the_token_is_in_no_address_and_in_no_log(page: Page, mount: Mount, world: World) -> None:
    (mount.path / "a.svg").write_text(SVG)
    page.open_row("a.svg")
    page.wait_picture(40)
    page.press("Download")
    assert page.downloaded("a.svg") == SVG.encode()
    token = page.script("return JSON.parse(sessionStorage.getItem('samedrive.login')).token")
    addresses = page.script("return performance.getEntries().map(({name}) => name).concat(location.href)")
    assert any("/files/a.svg" in address for address in addresses)
    assert not any(token in address for address in addresses)
    assert token not in world.server.log.text()


def test_no_other_host_is_asked_for_anything(page: Page, mount: Mount) -> None:
    for view in ("Trash", "Conflicts", "Space", "Devices", "Files"):
        page.go(view)
    page.wait_until(lambda: page.crumbs() != [], "the files")
    addresses = page.script("return performance.getEntriesByType('resource').map(({name}) => name)")
    assert {address for address in addresses if not address.startswith((f"{page.url}/", "blob:"))} == set()
