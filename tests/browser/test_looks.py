"""What everybody needs: narrow screens, dark and light, the keyboard, screen readers, figures."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.driving import NARROW, Page, findings
from tests.browser.pictures import png
from tests.real.harness import Mount
from tests.real.world import World

NUMBERS = random.Random(3)
SIZES = {"Budget 2026.csv": 1834, "Concert.flac": 61_000, "Letter to Ann.txt": 912, "Lease.pdf": 48_200}
REACHED = {"Skip to the content", "Search by name", "Workspace", "Share", "Trash", "Upload files", "New folder", "Name"}


@pytest.fixture
def mount(world: World, page: Page) -> Mount:
    """A drive with a bit of everything, shown."""
    mount = world.mount("laptop")
    for folder in ("Music", "Photos", "Projects", "Recipes"):
        (mount.path / folder).mkdir()
    for name, size in SIZES.items():
        (mount.path / name).write_bytes(NUMBERS.randbytes(size))
    (mount.path / "Lake.png").write_bytes(png(400, 260, lambda x, y: (70, 130, 180)))
    (mount.path / "Photos" / "copy.png").write_bytes(png(400, 260, lambda x, y: (70, 130, 180)))
    (mount.path / "Photos" / "list.txt").write_text("a line that comes again\n" * 4000)
    with (mount.path / "Letter to Ann.txt").open("w") as file:
        file.write("Dear Ann,\n\nthe drive works.\n")
    mount.wait()
    page.wait_until(lambda: len(page.rows()) == 9, "nine items")
    return mount


def _preview(page: Page) -> None:
    page.open_row("Lake.png")
    page.wait_picture(400)


def _history(page: Page) -> None:
    page.select("Letter to Ann.txt")
    page.press("History")
    page.wait_text("Version 2", "dialog")


def _share(page: Page) -> None:
    page.press("Share")
    page.wait_text("owns it", "dialog")


def _move(page: Page) -> None:
    page.select("Lake.png")
    page.press("Move")
    page.wait_text("Photos", "dialog .folders")


def _trash(page: Page) -> None:
    page.select("Lake.png")
    page.press("Delete")
    page.wait_until(lambda: len(page.rows()) == 8, "one less")
    page.go("Trash")
    page.wait_text("Lake.png", "main li")


def _space(page: Page) -> None:
    page.go("Space")
    page.wait_text("Each block once", "main svg")


def _devices(page: Page) -> None:
    page.go("Devices")
    page.wait_text("this browser", "main")


def _selected(page: Page) -> None:
    page.select("Lake.png", "Photos")


def _log_in(page: Page) -> None:
    page.press("Log out admin")
    page.field("User name")


VIEWS = {
    "files": lambda page: None,
    "selected": _selected,
    "preview": _preview,
    "history": _history,
    "share": _share,
    "move": _move,
    "trash": _trash,
    "space": _space,
    "devices": _devices,
    "login": _log_in,
}


@pytest.mark.parametrize("name", VIEWS)
def test_nothing_serious_keeps_anybody_from_using_a_view(page: Page, mount: Mount, axe: str, name: str) -> None:
    view: Callable[[Page], None] = VIEWS[name]
    view(page)
    page.settle()
    page.shot(f"{name}-light")
    found = {"light": findings(page, axe)}
    with page.dark():
        page.shot(f"{name}-dark")
        found["dark"] = findings(page, axe)
    with page.window(NARROW):
        page.shot(f"{name}-narrow")
        assert _overflow(page) == 0
        found["narrow"] = findings(page, axe)
    assert found == {"light": [], "dark": [], "narrow": []}


def test_everything_is_reached_by_tab_and_what_has_the_keyboard_is_seen(page: Page, mount: Mount) -> None:
    page.script("document.activeElement.blur()")
    reached: dict[str, bool] = {}
    for _ in range(24):
        page.keys(Keys.TAB)
        name, is_seen = page.script(
            "const at = document.activeElement; const outline = getComputedStyle(at).outlineStyle;"
            "return [at.getAttribute('aria-label') ?? at.textContent.trim(), outline !== 'none']"
        )
        reached[name] = is_seen
    assert reached.keys() >= REACHED
    assert [name for name in REACHED if not reached[name]] == []


def test_figures_say_what_is_saved(page: Page, mount: Mount) -> None:
    _space(page)
    page.wait_text("Saved", "main dl")
    assert "Each block once" in str(page.css("main svg[role=img]").get_attribute("aria-label"))
    assert "7 files" in page.text("main dl")


def _overflow(page: Page) -> int:
    """How far the page is wider than its window."""
    return int(page.script("return document.documentElement.scrollWidth - document.documentElement.clientWidth"))
