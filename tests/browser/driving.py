"""A person at the page: a real Chromium, driven by what is shown and by accessible names.

Owns finding, pressing, typing and waiting. Knows the page by what a person sees, not by its modules. Waits are for
conditions: each ends as soon as its condition holds, and fails with what the page showed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException, WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

T = TypeVar("T")

WAIT_S: Final = 20.0
"""For something to be shown: long, because a busy machine is no failure."""

WIDE: Final = (1280, 820)
NARROW: Final = (390, 800)


def start(folder: Path) -> webdriver.Chrome:
    """A browser whose downloads go to a folder and that asks no other host for anything."""
    options = Options()
    options.binary_location = _program("chromium")
    for flag in (
        "--headless=new",
        "--no-sandbox",  # The tests run as root in a container; the page is ours.
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--mute-audio",
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={WIDE[0]},{WIDE[1]}",
    ):
        options.add_argument(flag)
    options.add_experimental_option(
        "prefs",
        {
            "download.default_directory": str(folder),
            "download.prompt_for_download": False,
            "profile.default_content_setting_values.automatic_downloads": 1,
            "credentials_enable_service": False,
        },
    )
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(_program("chromedriver")))


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"{name} is not installed: scripts/test installs it"
    return found


class Page:
    """The page of one server, in a browser that several tests share one after another."""

    def __init__(self, driver: webdriver.Chrome, url: str, downloads: Path, shots: Path) -> None:
        self.driver = driver
        self.url = url
        self.downloads = downloads
        self.shots = shots

    # ── going ──

    def open(self, address: str = "") -> None:
        """Load the page anew."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/{address}")

    def login(self, user: str, password: str, *, stays: bool = False) -> None:
        """Fill in the form and send it."""
        self.field("User name").send_keys(user)
        self.field("Password").send_keys(password)
        if stays:
            self.field("Stay logged in on this device").click()
        self.press("Log in")

    def choose(self, workspace: str) -> None:
        """Go to a workspace by its name."""
        option = self.wait(
            lambda: self._one(f"//select[@aria-label='Workspace']/option[normalize-space()={_quoted(workspace)}]")
        )
        option.click()
        self.wait_until(lambda: self.crumbs()[:1] == [workspace], f"the workspace {workspace}")

    def choose_shared(self, owner: str, workspace: str) -> None:
        """Go to somebody else's workspace."""
        self.wait(lambda: self._one(f"//select/option[normalize-space()={_quoted(f'{owner}/{workspace}')}]")).click()
        self.wait_until(lambda: self.crumbs()[:1] == [workspace], f"the workspace {workspace}")

    def go(self, view: str) -> None:
        """To a view, by its link."""
        self.wait(lambda: self._one(f"//nav[@aria-label='Views']//a[span[normalize-space()={_quoted(view)}]]")).click()

    # ── finding ──

    def button(self, label: str) -> WebElement:
        """What is pressed to do a thing, by its accessible name; of several, the one on top."""
        quoted = _quoted(label)
        path = f"//*[self::button or self::a][@aria-label={quoted} or normalize-space()={quoted}]"
        return self.wait(
            lambda: next((found for found in reversed(self._all(path)) if found.is_displayed()), None), label
        )

    def offers(self, label: str) -> bool:
        """Whether there is such a button."""
        quoted = _quoted(label)
        path = f"//*[self::button or self::a][@aria-label={quoted} or normalize-space()={quoted}]"
        return any(found.is_displayed() for found in self._all(path))

    def field(self, label: str) -> WebElement:
        """Where a thing is typed or chosen, by its label."""
        quoted = _quoted(label)
        named = f"//*[self::input or self::select][@aria-label={quoted}]"
        labelled = f"//*[self::input or self::select][@id=//label[normalize-space()={quoted}]/@for]"
        return self.wait(lambda: self._one(labelled) or self._one(named), label)

    def css(self, selector: str) -> WebElement:
        """The first that matches."""
        return self.wait(lambda: next(iter(self.driver.find_elements(By.CSS_SELECTOR, selector)), None), selector)

    def all_css(self, selector: str) -> list[WebElement]:
        """All that match now."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    # ── doing ──

    def press(self, label: str) -> None:
        """A button."""
        self._click(lambda: self.button(label), label)

    def keys(self, *keys: str) -> None:
        """On the keyboard, wherever it is."""
        ActionChains(self.driver).send_keys(*keys).perform()

    @contextmanager
    def held(self, key: str) -> Iterator[None]:
        """With a key held down."""
        ActionChains(self.driver).key_down(key).perform()
        yield
        ActionChains(self.driver).key_up(key).perform()

    def answer(self, text: str) -> None:
        """A dialog's question."""
        field = self.css("dialog input#answer")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text, Keys.ENTER)

    def select(self, *names: str) -> None:
        """Rows, by their boxes, and no others."""

        def are_selected() -> bool:
            for name in set(names) ^ set(self.selected()):
                self.row(name).find_element(By.CSS_SELECTOR, "input").click()
            return set(self.selected()) == set(names)

        self.wait_until(are_selected, f"{names} selected")

    def open_row(self, name: str) -> None:
        """By its name."""
        self._click(lambda: self.row(name).find_element(By.CSS_SELECTOR, "button.name"), name)

    def _click(self, find: Callable[[], WebElement], wanted: str) -> None:
        """On what is there by then: a live change may draw it anew between finding it and clicking."""

        def clicked() -> bool:
            find().click()
            return True

        self.wait_until(clicked, wanted)

    def seek(self, to_s: int) -> list[object]:
        """In the dialog's audio: its duration and where it is then, in seconds, or why it can't be played."""
        self.driver.set_script_timeout(WAIT_S)
        sought: list[object] = self.driver.execute_async_script(
            """
            const [at, done] = arguments;
            const audio = document.querySelector("dialog audio");
            const seek = () => {
                audio.onseeked = () => done([audio.duration, audio.currentTime]);
                audio.currentTime = at;
            };
            audio.onerror = () => done([audio.error.message]);
            if (audio.readyState > 0) seek();
            else audio.onloadedmetadata = seek;
            """,
            to_s,
        )
        return sought

    def drop(self, selector: str, *paths: Path) -> None:
        """Files and folders of this machine on an element, as from a file manager."""
        box = self.css(selector).rect
        point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + min(box["height"], 200) / 2}
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.driver.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, **point, "data": data})

    def drag(self, element: WebElement, target: WebElement) -> None:
        """With the mouse."""
        ActionChains(self.driver).drag_and_drop(element, target).perform()

    # ── looking ──

    def crumbs(self) -> list[str]:
        """The names on the way to the folder."""
        return self._texts("main .crumbs li")

    def rows(self) -> list[str]:
        """The names in the list, in the order that is shown."""
        return self._texts("tbody .name .label")

    def row(self, name: str) -> WebElement:
        """A row of the list."""
        path = f"//tbody/tr[.//span[@class='label'][.={_quoted(name)}]]"
        return self.wait(lambda: self._one(path), f"the row {name}")

    def selected(self) -> list[str]:
        """The names that are selected."""
        return self._texts("tbody tr[aria-selected=true] .label")

    def notes(self) -> list[str]:
        """The messages at the foot."""
        return self._texts("#notes .note > span")

    def text(self, selector: str = "main") -> str:
        """What is written there."""
        return self.css(selector).text

    def shot(self, name: str) -> Path:
        """A picture of the page."""
        self.shots.mkdir(parents=True, exist_ok=True)
        path = self.shots / f"{name}.png"
        self.driver.save_screenshot(str(path))
        return path

    def script(self, text: str, *arguments: Any) -> Any:
        """What a script in the page returns."""
        return self.driver.execute_script(text, *arguments)

    def downloaded(self, name: str) -> bytes:
        """A download, once it is complete."""
        path = self.downloads / name
        self.wait_until(path.exists, f"the download {name}, not {sorted(p.name for p in self.downloads.iterdir())}")
        content = path.read_bytes()
        path.unlink()
        return content

    @contextmanager
    def window(self, size: tuple[int, int]) -> Iterator[None]:
        """Of another size, for a while."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        yield
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    @contextmanager
    def dark(self) -> Iterator[None]:
        """As for who prefers it dark, for a while."""
        features = [{"name": "prefers-color-scheme", "value": "dark"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        yield
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    # ── waiting ──

    def wait(self, find: Callable[[], T | None], wanted: str = "what was looked for", timeout_s: float = WAIT_S) -> T:
        """What is found, once it is."""
        waiting = WebDriverWait(self.driver, timeout_s, 0.05, (StaleElementReferenceException,))
        try:
            found: T = waiting.until(lambda _: find() or False)
        except TimeoutException:
            raise AssertionError(f"not shown within {timeout_s:g} s: {wanted}\n\n{self._shown()}") from None
        return found

    def wait_until(self, holds: Callable[[], bool], wanted: str, timeout_s: float = WAIT_S) -> None:
        """Until a condition holds."""
        self.wait(lambda: holds() or None, wanted, timeout_s)

    def wait_rows(self, *names: str, timeout_s: float = WAIT_S) -> None:
        """Until the list shows these names in this order."""
        self.wait_until(lambda: self.rows() == list(names), f"the rows {names}", timeout_s)

    def wait_note(self, text: str) -> None:
        """Until a message with this in it is shown."""
        self.wait_until(lambda: any(text in note for note in self.notes()), f"a note with {text!r}")

    def wait_text(self, text: str, selector: str = "body", timeout_s: float = WAIT_S) -> None:
        """Until this is written there."""
        self.wait_until(lambda: text in self.text(selector), f"{text!r} in {selector}", timeout_s)

    def wait_picture(self, width_px: int) -> None:
        """Until a dialog shows a picture of this width."""
        width = "return document.querySelector('dialog img')?.naturalWidth"
        self.wait_until(lambda: self.script(width) == width_px, f"a picture {width_px} wide")

    def wait_gone(self, selector: str, timeout_s: float = WAIT_S) -> None:
        """Until nothing matches any more."""
        self.wait_until(lambda: not self.all_css(selector), f"no {selector}", timeout_s)

    # ── troubles ──

    def complaints(self) -> list[str]:
        """What the browser's console holds of errors since the last call; answers with an error status aren't."""
        lines = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [
            line["message"]
            for line in lines
            if line["level"] in ("SEVERE", "WARNING") and line.get("source") not in ("network", "recommendation")
        ]

    def settle(self) -> None:
        """Until nothing moves any more: a colour between two is none that anybody chose."""
        running = "return document.getAnimations().filter((one) => one.playState === 'running').length"
        self.wait_until(lambda: self.script(running) == 0, "no animation")

    def _shown(self) -> str:
        try:
            return str(self.driver.find_element(By.TAG_NAME, "body").text)
        except WebDriverException as error:
            return str(error)

    def _texts(self, selector: str) -> list[str]:
        found = self.script(
            "return [...document.querySelectorAll(arguments[0])].map((element) => element.textContent)", selector
        )
        return list(found)

    def _one(self, path: str) -> WebElement | None:
        return next(iter(self._all(path)), None)

    def _all(self, path: str) -> Sequence[WebElement]:
        return self.driver.find_elements(By.XPATH, path)


def _quoted(text: str) -> str:
    """A text in XPath, which knows no escapes."""
    parts = text.split('"')
    return f'"{text}"' if len(parts) == 1 else "concat(" + ", '\"', ".join(f'"{part}"' for part in parts) + ")"


def findings(page: Page, axe: str) -> list[str]:
    """What axe finds on the page as it is, of what is serious or critical."""
    page.driver.execute_script(axe)
    page.driver.set_script_timeout(60)
    found = page.driver.execute_async_script(
        "const done = arguments[0];"
        "axe.run(document, {resultTypes: ['violations']}).then((result) => done(JSON.stringify(result.violations)))"
    )
    return [
        f"{rule['impact']}: {rule['id']}: {rule['help']}: {[node['html'] for node in rule['nodes']][:3]}"
        for rule in json.loads(found)
        if rule["impact"] in ("serious", "critical")
    ]
