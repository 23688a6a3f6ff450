"""Saved logins: who can read them, and which one is meant."""

import stat
from pathlib import Path

import pytest

from backend import credentials
from backend.credentials import Credential, NoLogin
from backend.errors import LocalFailure, Unusable
from protocol.ids import DeviceId


def login(
    url: str = "https://drive.example", user: str = "ann", device: str = "laptop", token: str = "t"
) -> Credential:
    return Credential(url=url, user=user, device=device, device_id=DeviceId("0" * 32), token=token)


def test_a_saved_login_is_loaded_as_it_was(tmp_path: Path) -> None:
    credentials.save(login(), tmp_path)
    assert credentials.load(folder=tmp_path) == login()


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "logins"
    path = credentials.save(login(), folder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_saving_again_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    credentials.save(login(token="old"), tmp_path)
    path = credentials.save(login(token="new"), tmp_path)
    assert credentials.load(folder=tmp_path).token == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_another_device_or_user_is_another_login(tmp_path: Path) -> None:
    for each in (login(), login(device="desk"), login(user="bob")):
        credentials.save(each, tmp_path)
    assert credentials.load(device="desk", folder=tmp_path) == login(device="desk")
    assert credentials.load(user="bob", folder=tmp_path) == login(user="bob")


def test_several_that_fit_are_named(tmp_path: Path) -> None:
    credentials.save(login(), tmp_path)
    credentials.save(login(url="http://127.0.0.1:8000"), tmp_path)
    with pytest.raises(NoLogin, match=r"ann on 'laptop' at http://127.0.0.1:8000, ann on 'laptop' at https://drive"):
        credentials.load(folder=tmp_path)


def test_without_one_the_way_out_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoLogin, match=r"^not logged in: samedrive login URL --user NAME$"):
        credentials.load(folder=tmp_path)
    with pytest.raises(
        NoLogin, match=r"^not logged in at https://a:8443 as bob: samedrive login https://a:8443 --user bob$"
    ):
        credentials.load("https://A:8443/", user="bob", folder=tmp_path)


def test_a_removed_one_is_gone(tmp_path: Path) -> None:
    credentials.save(login(), tmp_path)
    credentials.remove(login(), tmp_path)
    credentials.remove(login(), tmp_path)
    assert credentials.saved(tmp_path) == []


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = credentials.save(login(), tmp_path)
    path.write_bytes(b"{")
    with pytest.raises(LocalFailure, match=str(path)):
        credentials.load(folder=tmp_path)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("HTTPS://Drive.Example:443", "https://drive.example"),
        ("http://h:80", "http://h"),
        ("https://[::1]:9", "https://[::1]:9"),
    ],
)
def test_one_server_has_one_address(written: str, normal: str) -> None:
    assert credentials.normal_url(written) == normal


@pytest.mark.parametrize(
    "wrong",
    [
        "drive.example",
        "ftp://h",
        "http://",
        "http://h:99999",
        "http://u:p@h",
        "http://h/x",
        "http://[h",
        "http://h?a=1",
    ],
)
def test_what_is_no_address_is_refused(wrong: str) -> None:
    with pytest.raises(Unusable, match="is not a server's address"):
        credentials.normal_url(wrong)


def test_the_folder_follows_xdg_and_home() -> None:
    assert credentials.default_folder({"HOME": "/h"}) == Path("/h/.config/samedrive/logins")
    assert credentials.default_folder({"HOME": "/h", "XDG_CONFIG_HOME": "/c"}) == Path("/c/samedrive/logins")
    assert credentials.default_folder({"HOME": "/h", "XDG_CONFIG_HOME": "c"}) == Path("/h/.config/samedrive/logins")
