"""The page's pure modules, one by one, in the browser that they are for."""

from __future__ import annotations

from typing import Any

import pytest
from selenium import webdriver

from tests.real.harness import Server

DAY_NS = 86_400 * 10**9


class Modules:
    """Calls functions of the page's modules."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self._driver = driver
        driver.get(f"{url}/icon.svg")  # A document of the server's that runs nothing by itself.
        driver.set_script_timeout(20)

    def call(self, module: str, function: str, *arguments: Any) -> Any:
        """What a function returns; raises AssertionError with what it throws."""
        result, error = self._driver.execute_async_script(
            "const [module, name, given, done] = arguments;"
            "import(`/${module}.js`).then((found) => done([found[name](...given), null]))"
            ".catch((error) => done([null, String(error)]));",
            module,
            function,
            list(arguments),
        )
        assert error is None, error
        return result


@pytest.fixture
def modules(browser: webdriver.Chrome, module_server: Server) -> Modules:
    return Modules(browser, module_server.url)


@pytest.mark.parametrize(
    ("bytes_", "written"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.00 KiB"),
        (10_239, "10.0 KiB"),
        (1024 * 1024 - 1, "1.00 MiB"),
        (123_456_789, "118 MiB"),
        ("9007199254740993000", "7.81 EiB"),
    ],
)
def test_sizes_have_three_digits(modules: Modules, bytes_: int, written: str) -> None:
    assert modules.call("text", "size", bytes_) == written


@pytest.mark.parametrize(
    ("name", "encoded"), [("a b", "a%20b"), ("ä/", "%C3%A4%2F"), ("(it's)!*", "%28it%27s%29%21%2A"), ("a-._~", "a-._~")]
)
def test_names_are_encoded_as_the_server_does(modules: Modules, name: str, encoded: str) -> None:
    assert modules.call("paths", "encoded", name) == encoded
    assert modules.call("paths", "shown", encoded) == name


def test_names_that_are_no_text_are_kept_and_shown(modules: Modules) -> None:
    assert modules.call("paths", "encodedBytes", "Y2Fm6Q==") == "caf%E9"
    assert modules.call("paths", "shown", "caf%E9") == "caf\ufffd"


def test_paths_are_taken_apart(modules: Modules) -> None:
    assert modules.call("paths", "parent", "a/b/c") == "a/b"
    assert modules.call("paths", "parent", "a") == ""
    assert modules.call("paths", "last", "a/b") == "b"
    assert modules.call("paths", "steps", "a%20b/c") == [
        {"name": "a b", "path": "a%20b"},
        {"name": "c", "path": "a%20b/c"},
    ]
    assert modules.call("paths", "isWithin", "a/b", "a")
    assert not modules.call("paths", "isWithin", "ab", "a")


@pytest.mark.parametrize(
    ("name", "other"),
    [("a.txt", "a (2).txt"), ("a", "a (2)"), (".profile", ".profile (2)"), ("a.tar.gz", "a.tar (2).gz")],
)
def test_another_name_keeps_the_kind(modules: Modules, name: str, other: str) -> None:
    assert modules.call("paths", "beside", name, 2) == other


@pytest.mark.parametrize(
    ("name", "is_wrong"), [("a", False), ("", True), ("..", True), ("a/b", True), ("ä" * 128, True)]
)
def test_what_can_be_no_name_is_told(modules: Modules, name: str, is_wrong: bool) -> None:
    assert (modules.call("paths", "complaint", name) != "") is is_wrong


def test_long_numbers_are_exact_and_texts_are_left_alone(modules: Modules) -> None:
    text = '{"node":4611686018427387905,"name":"a:1234567890123456789, \\"1234567890123456789\\"","size":12,"n":-1.5}'
    found = modules.call("api", "decode", text)
    assert found == {
        "node": "4611686018427387905",
        "name": 'a:1234567890123456789, "1234567890123456789"',
        "size": 12,
        "n": -1.5,
    }


def test_folders_come_first_and_numbers_in_names_count(modules: Modules) -> None:
    items = [
        {"name": name, "path": name, "kind": kind, "size": size, "mtime_ns": str(time_ns)}
        for name, kind, size, time_ns in (
            ("b10", "file", 5, DAY_NS),
            ("b9", "file", 50, 3 * DAY_NS),
            ("C", "folder", 0, 2 * DAY_NS),
            ("a", "file", 5, 2 * DAY_NS),
        )
    ]

    def names(column: str, *, descending: bool = False) -> list[str]:
        order = {"column": column, "descending": descending}
        return [item["name"] for item in modules.call("order", "sorted", items, order)]

    assert names("name") == ["C", "a", "b9", "b10"]
    assert names("name", descending=True) == ["C", "b10", "b9", "a"]
    assert names("size") == ["C", "a", "b10", "b9"]
    assert names("time") == ["C", "b10", "a", "b9"]


def test_only_lines_that_the_other_text_has_not_are_marked(modules: Modules) -> None:
    found = modules.call("difference", "difference", "a\nb\nc\nd", "a\nx\nc\nd\ne")
    own = {side: [line["text"] for line in lines if line["own"]] for side, lines in found.items()}
    assert own == {"left": ["b"], "right": ["x", "e"]}
    assert modules.call("difference", "difference", "a\n" * 2000, "b") is None


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("A.JPG", "image"),
        ("a.svg", "image"),
        ("a.pdf", "pdf"),
        ("a.html", "text"),
        ("a", "unknown"),
        ("a.constructor", "unknown"),
    ],
)
def test_how_a_file_is_shown_is_told_by_its_name(modules: Modules, name: str, how: str) -> None:
    assert modules.call("kinds", "kindOf", name)["how"] == how


@pytest.mark.parametrize("address", ["", "#", "#main", "#nothing/abc", "#__proto__/abc"])
def test_an_address_of_nothing_says_nothing(modules: Modules, address: str) -> None:
    assert modules.call("place", "read", address) is None


@pytest.mark.parametrize("rest", ["../../links/x", "%2e%2e/a", "a//b", "a?x=1"])
def test_an_address_leads_out_of_no_workspace(modules: Modules, rest: str) -> None:
    assert modules.call("place", "read", f"#files/abc/{rest}") is None


def test_what_is_searched_for_may_look_like_a_way_out(modules: Modules) -> None:
    found = modules.call("place", "read", "#search/abc/../a")
    assert found == {"view": "search", "workspace": "abc", "rest": "../a"}


def test_an_address_says_where_it_leads(modules: Modules) -> None:
    address = modules.call("place", "address", "files", "abc", "a%2F/b")
    assert modules.call("place", "read", address) == {"view": "files", "workspace": "abc", "rest": "a%2F/b"}
