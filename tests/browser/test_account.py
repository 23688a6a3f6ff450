"""Logging in and out, devices, sharing."""

from __future__ import annotations

from tests.browser.driving import Page
from tests.real.world import World


def _password(world: World) -> str:
    return world.server.admin_password_file.read_text().strip()


def test_a_wrong_password_is_told_and_can_be_typed_again(page: Page, world: World) -> None:
    page.press("Log out admin")
    page.login("admin", "a guess")
    page.wait_text("Wrong user name or password.")
    page.field("Password").clear()
    page.field("User name").clear()
    page.login("admin", _password(world))
    page.wait_until(lambda: page.offers("Log out admin"), "the page")


def test_a_log_in_ends_with_the_log_out_at_the_server_too(page: Page) -> None:
    token = page.script("return JSON.parse(sessionStorage.getItem('samedrive.login')).token")
    page.press("Log out admin")
    page.field("User name")
    assert page.script("return sessionStorage.length + localStorage.length") == 1  # The browser's name.
    status = page.script(
        "return fetch('/v1/devices', {headers: {Authorization: `Bearer ${arguments[0]}`}}).then(({status}) => status)",
        token,
    )
    assert status == 401


def test_a_log_in_is_kept_in_the_tab_alone_unless_it_is_to_stay(page: Page, world: World) -> None:
    assert page.script("return localStorage.getItem('samedrive.login')") is None
    page.driver.refresh()
    page.wait_until(lambda: page.offers("Log out admin"), "the page")
    page.press("Log out admin")
    page.login("admin", _password(world), stays=True)
    page.wait_until(lambda: page.offers("Log out admin"), "the page")
    assert page.script("return sessionStorage.getItem('samedrive.login')") is None
    page.open()
    page.wait_until(lambda: page.offers("Log out admin"), "the page")


def test_no_cookie_is_set(page: Page) -> None:
    assert page.driver.get_cookies() == []


def test_devices_are_listed_and_can_be_revoked(page: Page, world: World) -> None:
    lost = world.device("lost-laptop")
    page.go("Devices")
    page.wait_text("lost-laptop", "main")
    assert "this browser" in page.text("main")
    page.shot("devices")
    page.press("Revoke lost-laptop")
    page.press("Revoke")
    page.wait_until(lambda: "lost-laptop" not in page.text("main"), "no lost-laptop")
    assert lost.run("device", "list", check=False).returncode != 0


def test_a_revoked_browser_is_asked_who_it_is(page: Page, world: World) -> None:
    page.go("Devices")
    page.wait_text("this browser", "main")
    name = page.css("li:has(.badge) .label").text.split("\n")[0].removesuffix("this browser").strip()
    world.admin.run("device", "revoke", name)
    page.go("Trash")
    page.wait_text("You are logged out")


def test_a_workspace_is_shared_and_no_longer_shared(page: Page, world: World) -> None:
    (world.folder / "password").write_text("a long one")
    world.admin.run("user", "add", "ann", "--password-file", str(world.folder / "password"))
    page.press("Share")
    page.wait_text("owns it", "dialog")
    page.field("User name").send_keys("ann")
    page.css("dialog form button.main").click()
    page.wait_text("ann may look")
    page.field("What ann may do").send_keys("may change")
    page.wait_text("ann may change")
    page.shot("sharing")
    page.press("Share with ann no longer")
    page.wait_until(lambda: page.text("dialog .members") == "admin\nowns it", "no ann")


def test_who_does_not_exist_can_not_be_shared_with(page: Page) -> None:
    page.press("Share")
    page.field("User name").send_keys("nobody")
    page.css("dialog form button.main").click()
    page.wait_text("There is no user 'nobody'.", "dialog")
