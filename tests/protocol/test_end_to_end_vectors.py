"""The frozen forms of an end-to-end workspace, which the page's modules are tried with, too."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from protocol.ids import BlockId, WorkspaceId
from protocol.keys import derive_end_to_end
from protocol.passphrase import disclose
from protocol.sealednames import BadName, NameSealer
from protocol.sealing import unseal

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "end_to_end.json").read_text())
KEYS = derive_end_to_end(bytes.fromhex(GOLDEN["workspace_key"]))
SEALER = NameSealer(KEYS.names_key)


def test_keys_are_derived_as_ever() -> None:
    assert KEYS.names_key.hex() == GOLDEN["names_key"]
    assert KEYS.key_id == GOLDEN["key_id"]
    assert KEYS.sealing_key.hex() == GOLDEN["sealing_key"]
    assert KEYS.block_id_key.hex() == GOLDEN["block_id_key"]
    assert KEYS.chunk_seed == GOLDEN["chunk_seed"]


@pytest.mark.parametrize("vector", GOLDEN["envelopes"], ids=lambda vector: vector["passphrase"])
def test_frozen_envelopes_open(vector: dict[str, str]) -> None:
    keys = disclose(vector["envelope"].encode(), vector["passphrase"], WorkspaceId(GOLDEN["workspace"]))
    assert {key_id: key.hex() for key_id, key in keys.items()} == {1: GOLDEN["workspace_key"]}


def test_a_frozen_envelope_with_a_later_key_opens_and_so_does_what_that_sealed() -> None:
    vector = GOLDEN["later"]
    keys = disclose(vector["envelope"].encode(), vector["passphrase"], WorkspaceId(GOLDEN["workspace"]))
    assert {key_id: key.hex() for key_id, key in keys.items()} == {1: GOLDEN["workspace_key"], 2: vector["key"]}
    block = vector["block"]
    working = derive_end_to_end(keys.pop(1), keys)
    assert unseal(working, BlockId(bytes.fromhex(block["id"])), b64decode(block["sealed"])) == b64decode(block["plain"])


@pytest.mark.parametrize("vector", GOLDEN["names"], ids=lambda vector: vector["sealed"][:8])
def test_frozen_names_open_and_seal_as_ever(vector: dict[str, str]) -> None:
    plain, sealed = b64decode(vector["plain"]), vector["sealed"].encode()
    assert SEALER.open_name(sealed) == plain
    assert SEALER.seal_name(plain) == sealed


@pytest.mark.parametrize("sealed", GOLDEN["bad_names"], ids=lambda sealed: sealed[:8])
def test_frozen_names_that_are_none_are_refused(sealed: str) -> None:
    with pytest.raises(BadName):
        SEALER.open_name(sealed.encode())


@pytest.mark.parametrize("vector", GOLDEN["targets"], ids=lambda vector: vector["sealed"][:8])
def test_frozen_targets_open_and_seal_as_ever(vector: dict[str, str]) -> None:
    plain, sealed = b64decode(vector["plain"]), vector["sealed"].encode()
    assert SEALER.open_target(sealed) == plain
    assert SEALER.seal_target(plain) == sealed


@pytest.mark.parametrize("vector", GOLDEN["xattrs"], ids=lambda vector: vector["sealed_name"][:8])
def test_frozen_attributes_open_and_seal_as_ever(vector: dict[str, str]) -> None:
    name, value = b64decode(vector["name"]), b64decode(vector["value"])
    sealed_name, sealed_value = vector["sealed_name"].encode(), b64decode(vector["sealed_value"])
    assert (SEALER.open_xattr_name(sealed_name), SEALER.open_xattr_value(sealed_value)) == (name, value)
    assert (SEALER.seal_xattr_name(name), SEALER.seal_xattr_value(value)) == (sealed_name, sealed_value)


@pytest.mark.parametrize("vector", GOLDEN["blocks"], ids=lambda vector: vector["what"])
def test_frozen_blocks_open(vector: dict[str, str]) -> None:
    plain, block = b64decode(vector["plain"]), BlockId(bytes.fromhex(vector["id"]))
    assert unseal(KEYS, block, b64decode(vector["sealed"])) == plain
    assert KEYS.block_id(plain) == block
