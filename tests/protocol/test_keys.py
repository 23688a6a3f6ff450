from __future__ import annotations

import pytest

from protocol.ids import WorkspaceId
from protocol.keys import KEY_BYTES, WrongKey, derive, new_key, unwrap, wrap

KEY = bytes(range(32))
HERE, THERE = WorkspaceId("0" * 32), WorkspaceId("1" * 32)


def test_a_wrapped_key_opens_with_the_wrapping_key() -> None:
    assert unwrap(wrap(KEY, b"w" * 32, HERE), b"w" * 32, HERE) == KEY


def test_another_wrapping_key_does_not_open_it() -> None:
    with pytest.raises(WrongKey):
        unwrap(wrap(KEY, b"w" * 32, HERE), b"x" * 32, HERE)


def test_a_key_does_not_open_as_another_workspace_s() -> None:
    with pytest.raises(WrongKey):
        unwrap(wrap(KEY, b"w" * 32, HERE), b"w" * 32, THERE)


def test_a_change_of_any_byte_is_found() -> None:
    wrapped = bytearray(wrap(KEY, b"w" * 32, HERE))
    for place in range(len(wrapped)):
        wrapped[place] ^= 1
        with pytest.raises(WrongKey):
            unwrap(bytes(wrapped), b"w" * 32, HERE)
        wrapped[place] ^= 1


@pytest.mark.parametrize("size", [0, 5, 12, 20])
def test_a_wrapped_key_that_was_cut_is_found(size: int) -> None:
    with pytest.raises(WrongKey):
        unwrap(wrap(KEY, b"w" * 32, HERE)[:size], b"w" * 32, HERE)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError):
        derive(b"short")


def test_new_keys_differ() -> None:
    assert len(new_key()) == KEY_BYTES
    assert new_key() != new_key()


def test_derivation_is_frozen() -> None:
    keys = derive(KEY)
    assert keys.key_id == 1
    assert keys.block_id_key.hex() == "251df92b89e24bd0fd421ead7e6366bfa2531cda400593e0f74350e42e56f98f"
    assert keys.sealing_key.hex() == "3dcbf7911c8344748503adad34610dabc34b2ce38af54e3b8436db95abfb4ba4"
    assert keys.chunk_seed == 2206521322
    assert keys.block_id(b"").hex() == "b7dafe61b4bb4190ceea14c90bbd66c3b827439e7ef2f28aef464169b1863b4b"
    assert keys.block_id(b"hello").hex() == "48dd7932446e990b70ac90432ae9e39358b01bab6d0534d703b8b315e4dec1a6"


def test_a_key_that_is_added_seals_and_names_nothing() -> None:
    before, after = derive(KEY), derive(KEY, {2: bytes(32)})
    assert after.key_id == 2
    assert after.sealing_key == derive(bytes(32)).sealing_key
    assert after.sealing_keys[1] == before.sealing_key
    assert (after.block_id_key, after.chunk_seed) == (before.block_id_key, before.chunk_seed)
    assert after.names_key == before.names_key


def test_wrapped_keys_are_frozen() -> None:
    assert (
        unwrap(
            bytes.fromhex(
                "a613ee3c184169d4ced1e37b9a12ffa52a051be22402439201d4f2153597"
                "08e2f0635ed4eb8b3b73a4a6d3fa44f8520c0472b240d92db8480b945b22"
            ),
            b"w" * 32,
            HERE,
        )
        == KEY
    )
