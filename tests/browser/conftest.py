"""Fixtures of the page: one browser for all tests, and the real servers and mounts of ``tests/real``."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from selenium import webdriver

from tests.browser.driving import Page, start
from tests.real.conftest import (
    fuse_device,
    logs,
    module_admin,
    module_server,
    new_own_world,
    new_world,
    own_world,
    pytest_runtest_makereport,
    reachable_folders,
    world,
)
from tests.real.world import World

__all__ = [
    "fuse_device",
    "logs",
    "module_admin",
    "module_server",
    "new_own_world",
    "new_world",
    "own_world",
    "pytest_runtest_makereport",
    "reachable_folders",
    "world",
]

AXE: Final = "4.14.1"
AXE_SHA512: Final = (
    "1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b73"
    "4f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.real)


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the page go."""
    return tmp_path_factory.mktemp("shots")


@pytest.fixture(scope="session")
def browser(downloads: Path) -> Iterator[webdriver.Chrome]:
    driver = start(downloads)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def page(browser: webdriver.Chrome, world: World, downloads: Path, shots: Path) -> Iterator[Page]:
    """The page, where the server's first user is logged in and the test's workspace is shown."""
    yield from opened(Page(browser, world.server.url, downloads, shots), world)


@pytest.fixture
def own_page(browser: webdriver.Chrome, own_world: World, downloads: Path, shots: Path) -> Iterator[Page]:
    """The same at a server that the test may stop."""
    yield from opened(Page(browser, own_world.server.url, downloads, shots), own_world)


def opened(page: Page, world: World) -> Iterator[Page]:
    """Logged in, and afterwards nothing of it left; the console may hold no error."""
    page.open()
    page.login("admin", world.server.admin_password_file.read_text().strip())
    page.choose(world.workspace)
    yield page
    complaints = page.complaints()
    page.driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": page.url, "storageTypes": "all"})
    page.script("sessionStorage.clear(); localStorage.clear()")
    page.driver.get("about:blank")
    assert not complaints, "the browser's console holds:\n" + "\n".join(complaints)


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest) -> str:
    """The source of axe-core, which finds what keeps people from using a page; fetched once."""
    assert request.config.cache is not None
    folder = request.config.cache.mkdir("axe-core")
    archive = folder / f"axe-core-{AXE}.tgz"
    if not archive.exists():
        command = ("npm", "pack", "--silent", f"axe-core@{AXE}", "--pack-destination", str(folder))
        subprocess.run(command, check=True, capture_output=True)
    assert hashlib.sha512(archive.read_bytes()).hexdigest() == AXE_SHA512
    with tarfile.open(archive) as opened_archive:
        member = opened_archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()
