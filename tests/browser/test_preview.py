"""What files look like in the page: pictures, texts, PDFs, audio and video, sought in by ranges."""

from __future__ import annotations

import wave
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.driving import Page
from tests.browser.pictures import Colour, png
from tests.real.harness import Mount
from tests.real.world import World

SECONDS = 120
RATE = 44_100


def _orange(x: int, y: int) -> Colour:
    return 200, 120, 30


def pdf(text: str) -> bytes:
    """One page with a line; Chromium mends the missing table of offsets."""
    line = f"BT /F1 18 Tf 20 100 Td ({text}) Tj ET"
    font = "<</Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
    return (
        "%PDF-1.1\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        f"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 144]/Contents 4 0 R/Resources{font}>>endobj\n"
        f"4 0 obj<</Length {len(line)}>>stream\n{line}\nendstream endobj\ntrailer<</Root 1 0 R>>\n"
    ).encode()


@pytest.fixture
def mount(world: World) -> Mount:
    return world.mount("camera")


def _viewers(page: Page) -> int:
    """How many PDF viewers are open: each is a part of the browser, which a page can't look into."""
    targets = page.driver.execute_cdp_cmd("Target.getTargets", {"filter": [{}]})["targetInfos"]
    return sum(target["url"].startswith("chrome-extension://") for target in targets)


def _audio(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(bytes(2 * RATE * SECONDS))


def test_pictures_are_shown_one_after_the_other(page: Page, mount: Mount) -> None:
    for number in range(1, 4):
        (mount.path / f"{number}.png").write_bytes(png(30 * number, 20, _orange))
    page.wait_rows("1.png", "2.png", "3.png")
    page.open_row("2.png")
    page.wait_picture(60)
    page.shot("picture")
    page.keys(Keys.ARROW_RIGHT)
    page.wait_picture(90)
    assert not page.button("Next file").is_enabled()
    page.keys(Keys.ESCAPE)
    page.wait_gone("dialog")
    assert page.script("return document.activeElement.querySelector('.label').textContent") == "3.png"


def test_a_text_is_shown_as_it_is(page: Page, mount: Mount) -> None:
    (mount.path / "notes").write_text("tea & <biscuits>\nfür zwei\n")
    (mount.path / "empty.txt").touch()
    page.wait_rows("empty.txt", "notes")
    page.open_row("notes")
    page.wait_text("tea & <biscuits>\nfür zwei", "dialog pre")
    page.keys(Keys.ESCAPE)
    page.wait_gone("dialog")
    mount.wait()
    page.open_row("empty.txt")
    page.wait_until(lambda: page.text("dialog pre") == "", "nothing")


def test_the_beginning_of_a_long_text_is_shown(page: Page, mount: Mount) -> None:
    (mount.path / "long.log").write_text("line of a log\n" * 100_000)
    page.open_row("long.log")
    page.wait_text("The first 512 KiB are shown.", "dialog")


def test_what_can_not_be_shown_says_so(page: Page, mount: Mount) -> None:
    (mount.path / "data").write_bytes(b"\0\1\2\xff")
    page.open_row("data")
    page.wait_text("This kind of file can't be shown here.", "dialog")


def test_a_pdf_is_shown(page: Page, mount: Mount) -> None:
    (mount.path / "paper.pdf").write_bytes(pdf("A paper"))
    page.open_row("paper.pdf")
    assert str(page.css("dialog iframe").get_attribute("src")).startswith("blob:")
    page.wait_until(lambda: _viewers(page) == 1, "Chromium's viewer")
    page.shot("pdf")


def test_audio_is_sought_in_by_ranges(page: Page, mount: Mount) -> None:
    _audio(mount.path / "quiet.wav")
    mount.wait()
    page.open_row("quiet.wav")
    page.css("dialog audio")
    assert page.seek(100) == [SECONDS, 100]
    loaded = page.script(
        "return performance.getEntriesByType('resource').filter(({name}) => name.includes('quiet.wav')).length"
    )
    assert loaded >= 2


def test_video_is_shown(page: Page, mount: Mount) -> None:
    made = page.driver.execute_async_script("""
        const done = arguments[0];
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [64, 48];
        const pen = canvas.getContext("2d");
        const draw = setInterval(() => {
            pen.fillStyle = `hsl(${Math.random() * 360} 80% 50%)`;
            pen.fillRect(0, 0, 64, 48);
        }, 20);
        const recorder = new MediaRecorder(canvas.captureStream(25), {mimeType: "video/webm"});
        recorder.ondataavailable = async ({data}) => {
            clearInterval(draw);
            done(Array.from(new Uint8Array(await data.arrayBuffer())));
        };
        recorder.start();
        setTimeout(() => recorder.stop(), 600);
    """)
    (mount.path / "film.webm").write_bytes(bytes(made))
    page.open_row("film.webm")
    page.wait_until(lambda: page.script("return document.querySelector('dialog video')?.videoWidth") == 64, "the film")


def test_content_is_shown_after_the_service_worker_was_stopped(page: Page, mount: Mount) -> None:
    (mount.path / "1.png").write_bytes(png(40, 20, _orange))
    page.wait_rows("1.png")
    page.driver.execute_cdp_cmd("ServiceWorker.enable", {})
    page.driver.execute_cdp_cmd("ServiceWorker.stopAllWorkers", {})
    page.open_row("1.png")
    page.wait_picture(40)


def test_content_is_shown_and_downloaded_without_a_service_worker(page: Page, mount: Mount) -> None:
    (mount.path / "1.png").write_bytes(png(40, 20, _orange))
    page.driver.execute_cdp_cmd("Network.enable", {})
    page.driver.execute_cdp_cmd("Network.setBypassServiceWorker", {"bypass": True})
    page.driver.refresh()
    page.wait_rows("1.png")
    page.open_row("1.png")
    page.wait_picture(40)
    assert str(page.css("dialog img").get_attribute("src")).startswith("blob:")
    page.press("Download")
    assert page.downloaded("1.png") == (mount.path / "1.png").read_bytes()
    page.driver.execute_cdp_cmd("Network.setBypassServiceWorker", {"bypass": False})
