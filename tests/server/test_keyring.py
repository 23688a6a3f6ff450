from __future__ import annotations

from pathlib import Path

import pytest

from protocol.ids import WorkspaceId
from protocol.keys import WrongKey, new_key
from server.keyring import Keyring, create, load, write_secret

SPACE = WorkspaceId("ab" * 16)


def test_a_folder_without_a_key_has_none(tmp_path: Path) -> None:
    assert load(tmp_path / "master-key") is None


def test_the_key_is_the_same_the_next_time_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file, key = tmp_path / "master-key", new_key()
    wrapped = create(file).wrap(SPACE, key)
    again = load(file)
    assert again is not None
    assert again.unwrap(SPACE, wrapped) == key
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_damaged_master_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "master-key").write_bytes(b"short")
    with pytest.raises(WrongKey, match="not a master key"):
        load(tmp_path / "master-key")


def test_another_master_key_opens_nothing() -> None:
    wrapped = Keyring(new_key()).wrap(SPACE, new_key())
    with pytest.raises(WrongKey):
        Keyring(new_key()).unwrap(SPACE, wrapped)


def test_a_secret_replaces_what_a_crash_left(tmp_path: Path) -> None:
    leftover = tmp_path / "secret.new"
    leftover.write_bytes(b"half of something longer")
    leftover.chmod(0o644)
    write_secret(tmp_path / "secret", b"whole")
    assert (tmp_path / "secret").read_bytes() == b"whole"
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert not leftover.exists()
