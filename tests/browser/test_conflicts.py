"""Conflict copies side by side, and a choice."""

from __future__ import annotations

import pytest

from tests.browser.driving import NARROW, Page, findings
from tests.real.harness import Mount
from tests.real.world import World


@pytest.fixture
def desk(world: World) -> Mount:
    """Where "notes.txt" is desk's and laptop's content is beside it as a conflict copy."""
    desk, laptop = world.mount("desk"), world.mount("laptop")
    (desk.path / "notes.txt").write_text("shared line\nold\n")
    with (laptop.path / "notes.txt").open("r+") as file:
        file.write("shared line\nof the laptop\n")
        (desk.path / "notes.txt").write_text("shared line\nof the desk\n")
    return desk


def _contents(mount: Mount) -> set[str]:
    return {path.read_text().split("\n")[1] for path in mount.path.iterdir()}


def test_both_contents_are_shown_and_what_is_different_is_marked(page: Page, desk: Mount, axe: str) -> None:
    page.wait_text("1", ".side .badge")
    page.wait_until(lambda: "conflict" in page.text("tbody"), "the badge in the list")
    page.go("Conflicts")
    page.wait_text("From laptop")
    theirs, mine = (side.text for side in page.all_css(".sides pre"))
    assert (theirs.split("\n")[1], mine.split("\n")[1]) == ("of the desk", "of the laptop")
    marked = [mark.text for mark in page.all_css(".sides mark")]
    assert marked == ["of the desk", "of the laptop"]
    page.settle()
    page.shot("conflicts-light")
    assert findings(page, axe) == []
    with page.window(NARROW), page.dark():
        page.shot("conflicts-narrow")
        assert findings(page, axe) == []


@pytest.mark.parametrize(
    ("choice", "left"),
    [
        ("Keep this one, under the name notes.txt", {"of the desk"}),
        ("Keep this one, the conflict copy of notes.txt", {"of the laptop"}),
        ("Keep both as files of their own: notes.txt", {"of the desk", "of the laptop"}),
    ],
)
def test_a_choice_ends_the_conflict_on_every_device(page: Page, desk: Mount, choice: str, left: set[str]) -> None:
    page.go("Conflicts")
    page.press(choice)
    page.wait_text("There are no conflicts.")
    assert _contents(desk) == left
    assert desk.device.run("conflicts", str(desk.path)).stdout == "No conflicts.\n"


def test_a_conflict_that_another_device_ends_goes_from_the_page(page: Page, desk: Mount) -> None:
    page.go("Conflicts")
    page.wait_text("From laptop")
    [copy] = [path for path in desk.path.iterdir() if "conflict" in path.name]
    desk.device.run("conflicts", "keep", "mine", str(copy))
    page.wait_text("There are no conflicts.")
    page.wait_until(lambda: not page.css(".side .badge").is_displayed(), "no count")
