"""The pictures of the README: taken here of the page as it is, looked at and copied to docs/images by a person."""

from __future__ import annotations

import os
import random

from selenium.webdriver.common.keys import Keys

from tests.browser.driving import Page
from tests.browser.pictures import lake
from tests.real.harness import Mount
from tests.real.world import World

DAY_S = 86_400
SIZES = {"Budget 2026.csv": 1834, "Concert.flac": 3_361_000, "Lease.pdf": 482_000, "Walk by the sea.mp4": 7_840_000}
LETTER = "Dear Ann,\n\nthe drive works: what I save at my desk\nis on every other device at once.\n\n"


def test_a_drive_is_shown(own_page: Page, own_world: World) -> None:
    page, mount = own_page, own_world.mount("laptop")
    _furnish(mount)
    page.wait_until(lambda: len(page.rows()) == 10, "ten items")
    page.select("Lake.png")
    page.settle()
    page.shot("readme-files")
    with page.dark():
        page.open_row("Lake.png")
        page.wait_picture(720)
        page.settle()
        page.shot("readme-preview")
        page.keys(Keys.ESCAPE)
        page.wait_gone("dialog")


def test_a_conflict_is_shown(own_page: Page, own_world: World) -> None:
    page, laptop, phone = own_page, own_world.mount("laptop"), own_world.mount("phone")
    letter = laptop.path / "Letter to Ann.txt"
    letter.write_text(LETTER)
    with (phone.path / letter.name).open("w") as file:
        file.write(f"{LETTER}Greetings from the train!\n")
        letter.write_text(f"{LETTER}See you on Friday!\n")
    page.go("Conflicts")
    page.wait_text("From phone")
    page.settle()
    page.shot("readme-conflicts")


def _furnish(mount: Mount) -> None:
    begin_s = mount.path.stat().st_mtime - DAY_S
    for number, folder in enumerate(("Music", "Photos", "Projects", "Recipes")):
        (mount.path / folder).mkdir()
        os.utime(mount.path / folder, (begin_s - number * 9 * DAY_S,) * 2)
    for number, (name, size) in enumerate(SIZES.items()):
        (mount.path / name).write_bytes(random.Random(number).randbytes(size))
        os.utime(mount.path / name, (begin_s - number * 23 * DAY_S,) * 2)
    (mount.path / "Lake.png").write_bytes(lake(720, 440))
    (mount.path / "Letter to Ann.txt").write_text(LETTER)
