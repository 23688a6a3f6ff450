from __future__ import annotations

from pathlib import Path

import pytest

from server.config import BadSettings, load

DATA = {"data": "/srv/data"}


def test_the_defaults_are_below_the_xdg_data_home() -> None:
    assert load(None, {"XDG_DATA_HOME": "/x"}, {}).data == Path("/x/samedrive/server")
    assert load(None, {"HOME": "/people/ada"}, {}).data == Path("/people/ada/.local/share/samedrive/server")


def test_a_relative_xdg_data_home_is_ignored() -> None:
    assert load(None, {"HOME": "/people/ada", "XDG_DATA_HOME": "x"}, {}).data.is_relative_to("/people/ada")


def test_flags_go_over_variables_and_these_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('data = "/file"\nlisten = "127.0.0.1:1"\ngrace-s = 1\n')
    environment = {"SAMEDRIVE_LISTEN": "127.0.0.1:2", "SAMEDRIVE_GRACE_S": "2"}
    settings = load(file, environment, {"grace_s": 3.0, "listen": None})
    assert (settings.data, settings.listen, settings.grace_s) == (Path("/file"), "127.0.0.1:2", 3.0)


def test_an_empty_variable_counts_as_none() -> None:
    assert load(None, {"SAMEDRIVE_TLS_CERT": "", "SAMEDRIVE_LISTEN": ""}, DATA).tls_cert is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "[::1]", "localhost"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert load(None, {}, DATA | {"listen": f"{host}:80"}).address.port == 80


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "127.example.org", "192.0.2.1"])
def test_listening_beyond_loopback_needs_tls_or_a_flag(host: str) -> None:
    flags = DATA | {"listen": f"{host}:80"}
    with pytest.raises(BadSettings, match="--insecure-listen"):
        load(None, {}, flags)
    assert load(None, {}, flags | {"insecure_listen": True}).address.host == host.strip("[]")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"listen": "8473"}, "HOST:PORT"),
        ({"listen": "localhost:"}, "HOST:PORT"),
        ({"listen": "localhost:99999"}, "HOST:PORT"),
        ({"listen": "localhost:²"}, "HOST:PORT"),
        ({"tls_cert": "/cert"}, "go together"),
        ({"tls_cert": "/no/cert", "tls_key": "/no/key"}, "there is no file /no/cert"),
        ({"admin_password_file": "/no/file"}, "there is no file"),
        ({"lease_s": 0.1}, "--lease-s"),
        ({"lease_s": 16.0}, "--lease-s"),
        ({"lease_s": float("nan")}, "--lease-s"),
        ({"grace_s": -1.0}, "--grace-s"),
        ({"grace_s": float("nan")}, "--grace-s"),
        ({"keep_changes_days": -1.0}, "--keep-changes-days"),
        ({"keep_changes_days": float("nan")}, "--keep-changes-days"),
    ],
)
def test_a_wrong_setting_is_named(flags: dict[str, object], said: str) -> None:
    with pytest.raises(BadSettings, match=said):
        load(None, {}, DATA | flags)


@pytest.mark.parametrize("text", ["colour = 1", "listen = 1", "listen = [", "data = 5"])
def test_a_wrong_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "server.toml"
    file.write_text(text)
    with pytest.raises(BadSettings):
        load(file, {}, DATA if "data" not in text else {})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="nowhere"):
        load(tmp_path / "nowhere", {}, DATA)


def test_the_example_settings_are_the_defaults() -> None:
    example = Path(__file__).parents[2] / "deploy/samedrive.toml"
    spoken = "\n".join(line.removeprefix("#") for line in example.read_text().splitlines() if "=" in line)
    assert {line.split(" = ")[0] for line in spoken.splitlines()} == {
        name.replace("_", "-") for name in load(None, {}, DATA).__struct_fields__
    }
