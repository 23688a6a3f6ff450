"""The page's modules of end-to-end workspaces, in the browser: against golden vectors, RFCs and the Python code."""

from __future__ import annotations

import json
import random
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any, Final

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from selenium import webdriver

from protocol import manifest as manifests
from protocol.ids import BlockId
from protocol.keys import derive_end_to_end
from protocol.limits import BLOCK_MAX_BYTES
from protocol.manifest import HOLE, Manifest, Piece
from protocol.marks import are_marks, split_marks, with_marks
from protocol.sealing import seal
from tests.real.harness import Server

GOLDEN: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "protocol" / "golden" / "end_to_end.json").read_text()
)
KEYS: Final = derive_end_to_end(bytes.fromhex(GOLDEN["workspace_key"]))

PRELUDE: Final = """
const given = arguments[0];
const done = arguments[1];
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const unhex = (text) => Uint8Array.from(text.match(/../g) ?? [], (digits) => parseInt(digits, 16));
const base64 = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
const text = (value) => new TextEncoder().encode(value);
const outcome = (work) => work.then((value) => value, (error) => `${error.constructor.name}: ${error.message}`);
(async () => {
    %s
})().then((value) => done([value, null])).catch((error) => done([null, String(error.stack ?? error)]));
"""


class Scripts:
    """Runs scripts that use the page's modules."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self._driver = driver
        driver.get(f"{url}/icon.svg")  # A document of the server's that runs nothing by itself.
        driver.set_script_timeout(120)

    def run(self, body: str, given: Any = None) -> Any:
        """What a script returns; raises AssertionError with what it throws."""
        result, error = self._driver.execute_async_script(PRELUDE % body, given)
        assert error is None, error
        return result


@pytest.fixture
def scripts(browser: webdriver.Chrome, module_server: Server) -> Scripts:
    return Scripts(browser, module_server.url)


# ── keys ──


@pytest.mark.parametrize(
    ("passphrase", "salt", "n", "r", "p", "key"),
    [
        (
            *("", "", 16, 1, 1),
            "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
            "fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906",
        ),
        (
            *("password", "NaCl", 1024, 8, 16),
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
            "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640",
        ),
        (
            *("pleaseletmein", "SodiumChloride", 16384, 8, 1),
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
            "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
        ),
    ],
)
def test_scrypt_is_that_of_rfc_7914(
    scripts: Scripts, passphrase: str, salt: str, n: int, r: int, p: int, key: str
) -> None:
    found = scripts.run(
        """const { scrypt } = await import("/scrypt.js");
        const [passphrase, salt, n, r, p] = given;
        return hex(await scrypt(text(passphrase), text(salt), n, r, p, 64));""",
        [passphrase, salt, n, r, p],
    )
    assert found == key


def test_blake3_is_that_of_mounts_at_all_borders_of_its_tree(scripts: Scripts) -> None:
    numbers, key = random.Random(1), bytes(range(32))
    lengths = [0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 2049, 3072, 3073, 7168, 8192, 8193, 100_000]
    contents = [numbers.randbytes(length) for length in lengths]
    found = scripts.run(
        """const { keyed, derived } = await import("/blake3.js");
        const [key, context, contents] = given;
        return contents.map(base64).map((bytes) => [hex(keyed(unhex(key), bytes)), hex(derived(context, bytes, 100))]);
        """,
        [key.hex(), "samedrive 2026 trial", [b64encode(content).decode() for content in contents]],
    )
    assert found == [
        [
            blake3(content, key=key).hexdigest(),
            blake3(content, derive_key_context="samedrive 2026 trial").digest(100).hex(),
        ]
        for content in contents
    ]


def test_keys_are_derived_as_everywhere(scripts: Scripts) -> None:
    found = scripts.run(
        """const { workingKeys } = await import("/keys.js");
        const keys = await workingKeys(new Map([[1, unhex(given)]]));
        return [hex(keys.names), hex(keys.blockIds)];""",
        GOLDEN["workspace_key"],
    )
    assert found == [GOLDEN["names_key"], GOLDEN["block_id_key"]]


@pytest.mark.parametrize("vector", GOLDEN["envelopes"], ids=lambda vector: vector["passphrase"])
def test_envelopes_open_with_their_passphrase(scripts: Scripts, vector: dict[str, str]) -> None:
    found = scripts.run(
        """const { disclosed } = await import("/keys.js");
        return [...(await disclosed(...given))].map(([keyId, key]) => [keyId, hex(key)]);""",
        [vector["envelope"], vector["passphrase"], GOLDEN["workspace"]],
    )
    assert found == [[1, GOLDEN["workspace_key"]]]


def test_an_envelope_with_a_later_key_opens_and_so_does_what_that_sealed(scripts: Scripts) -> None:
    vector = GOLDEN["later"]
    found = scripts.run(
        """const { disclosed, workingKeys } = await import("/keys.js");
        const { openBlock } = await import("/sealedblock.js");
        const keys = await disclosed(given.envelope, given.passphrase, given.workspace);
        const plain = await openBlock(
          await workingKeys(keys), unhex(given.block.id), base64(given.block.sealed));
        return [[...keys].map(([keyId, key]) => [keyId, hex(key)]), hex(plain) === hex(base64(given.block.plain))];""",
        {**vector, "workspace": GOLDEN["workspace"]},
    )
    assert found == [[[1, GOLDEN["workspace_key"]], [2, vector["key"]]], True]


def test_a_block_under_a_later_key_is_not_called_damaged(scripts: Scripts) -> None:
    block = GOLDEN["later"]["block"]
    found = _opened(scripts, BlockId(bytes.fromhex(block["id"])), b64decode(block["sealed"]))
    assert (
        found
        == "LaterKey: This is under a key that is not unlocked here: reload the page and unlock the workspace again."
    )


@pytest.mark.parametrize(
    ("key_id", "outcome"),
    [
        ("3", "Error: A key in this workspace's envelope is not one of its own."),
        ("1", "Error: This workspace's envelope has an unknown form."),
        ("257", "Error: This workspace's envelope has an unknown form."),
        ("x", "Error: This workspace's envelope has an unknown form."),
    ],
)
def test_a_later_key_has_its_own_number(scripts: Scripts, key_id: str, outcome: str) -> None:
    vector = GOLDEN["later"]
    envelope = json.loads(vector["envelope"])
    envelope["later"] = {key_id: envelope["later"]["2"]}
    found = scripts.run(
        """const { disclosed } = await import("/keys.js");
        return outcome(disclosed(...given));""",
        [json.dumps(envelope), vector["passphrase"], GOLDEN["workspace"]],
    )
    assert found == outcome


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"n": 1 << 16}, "WrongPassphrase: That is not the passphrase of this workspace."),
        ({"n": 1 << 14}, "Error: This workspace's passphrase is derived in a way that this page refuses."),
        ({"n": 1 << 21}, "Error: This workspace's passphrase is derived in a way that this page refuses."),
        ({"n": 100_000}, "Error: This workspace's passphrase is derived in a way that this page refuses."),
        ({"r": 1}, "Error: This workspace's passphrase is derived in a way that this page refuses."),
        ({"p": 5}, "Error: This workspace's passphrase is derived in a way that this page refuses."),
        ({"p": 0}, "Error: This workspace's passphrase is derived in a way that this page refuses."),
        ({"kdf": "md5"}, "Error: This workspace's passphrase is derived in a way that this page refuses."),
        ({"salt": "AAAA"}, "Error: This workspace's envelope has an unknown form."),
    ],
    ids=str,
)
def test_a_server_can_not_make_guessing_cheap(scripts: Scripts, change: dict[str, Any], outcome: str) -> None:
    vector = GOLDEN["envelopes"][0]
    found = scripts.run(
        """const { disclosed } = await import("/keys.js");
        return outcome(disclosed(...given));""",
        [json.dumps(json.loads(vector["envelope"]) | change), vector["passphrase"], GOLDEN["workspace"]],
    )
    assert found == outcome


# ── names ──

NAMES = """const { SealedNames } = await import("/sealednames.js");
        const names = await SealedNames.of(unhex(given.names_key));
        """


def test_names_open_and_seal_as_everywhere(scripts: Scripts) -> None:
    found = scripts.run(
        NAMES
        + """return Promise.all(given.names.map(async ({ plain, sealed }) => [
            hex(await names.openName(sealed)) === hex(base64(plain)),
            await names.sealName(base64(plain)) === sealed,
        ]));
        """,
        GOLDEN,
    )
    assert found == [[True, True]] * len(GOLDEN["names"])


def test_what_nobody_sealed_as_a_name_is_refused(scripts: Scripts) -> None:
    found = scripts.run(
        NAMES + "return Promise.all(given.bad_names.map((name) => outcome(names.openName(name))));", GOLDEN
    )
    assert [one.split(":")[0] for one in found] == ["NotSealed"] * len(GOLDEN["bad_names"])


def test_targets_open_as_everywhere(scripts: Scripts) -> None:
    found = scripts.run(
        NAMES
        + """return Promise.all(given.targets.map(async ({ plain, sealed }) =>
            hex(await names.openTarget(sealed)) === hex(base64(plain))));""",
        GOLDEN,
    )
    assert found == [True] * len(GOLDEN["targets"])


def test_siv_is_that_of_mounts_at_all_lengths(scripts: Scripts) -> None:
    numbers = random.Random(2)
    key = numbers.randbytes(64)
    plain = [numbers.randbytes(length) for length in [*range(1, 50), 255, 4095]]
    found = scripts.run(
        """const { Siv } = await import("/siv.js");
        const [key, all] = given;
        const siv = await Siv.of(unhex(key));
        const kind = await siv.kind("name");
        return Promise.all(all.map(async (plain) => {
            const sealed = await siv.seal(kind, unhex(plain));
            return [hex(sealed), hex(await siv.open(kind, sealed))];
        }));""",
        [key.hex(), [one.hex() for one in plain]],
    )
    assert found == [[AESSIV(key).encrypt(one, [b"name"]).hex(), one.hex()] for one in plain]


def test_what_was_changed_or_is_of_another_kind_does_not_open(scripts: Scripts) -> None:
    found = scripts.run(
        """const { Siv } = await import("/siv.js");
        const siv = await Siv.of(new Uint8Array(64));
        const [name, target] = [await siv.kind("name"), await siv.kind("target")];
        const sealed = await siv.seal(name, text("a name"));
        const changed = sealed.slice();
        changed[20] ^= 1;
        return Promise.all([siv.open(target, sealed), siv.open(name, changed), siv.open(name, sealed.slice(0, 15))]
            .map((opening) => opening.then(() => "open", () => "refused")));"""
    )
    assert found == ["refused"] * 3


def test_marks_are_split_and_put_as_everywhere(scripts: Scripts) -> None:
    numbers = random.Random(3)
    parts = [
        *(b"report", b".", b"..", b" ", b"(", b")", b".txt", b".tar.gz", b"\xc3\xa4", b"\xff", b"\x85", b"\xa0", b"\n"),
        *(b" (conflict from laptop 2026-11-24 10.00.00)", b" (restored 2026-11-24 10.00.00)", b" (2)"),
        *(b" (restored 2026-11-24 10.00.00 12)", b" (conflict from " + b"x" * 65 + b" 2026-11-24 10.00.00)", b"." * 33),
        *(
            b" (conflict from \xe2\x98\x83 2026-11-24 10.00.00 2)",
            b" (restored 2026-11-24 10.00.00 02)",
            b"." + b"y" * 32,
        ),
    ]
    all_names = [b"".join(numbers.choices(parts, k=numbers.randint(1, 5))) for _ in range(3000)]
    found = scripts.run(
        """const { areMarks, splitMarks, withMarks } = await import("/marks.js");
        return given.map((name) => [splitMarks(name), withMarks(...splitMarks(name)), areMarks(name)]);""",
        [name.decode("latin-1") for name in all_names],
    )
    for name, (split, joined, is_marks) in zip(all_names, found, strict=True):
        assert tuple(part.encode("latin-1") for part in split) == split_marks(name)
        assert joined.encode("latin-1") == with_marks(*split_marks(name)) == name
        assert is_marks is are_marks(name)


# ── contents ──

OPENING = """const { workingKeys } = await import("/keys.js");
        const { openBlock } = await import("/sealedblock.js");
        const keys = await workingKeys(new Map([[1, unhex(given.key)]]));
        """


def _opened(scripts: Scripts, block: BlockId, sealed: bytes | bytearray) -> str:
    """The plain bytes, in hexadecimal, or what is thrown."""
    given = {"key": GOLDEN["workspace_key"], "block": block.hex(), "sealed": b64encode(sealed).decode()}
    work = "return outcome(openBlock(keys, unhex(given.block), base64(given.sealed)).then(hex));"
    return str(scripts.run(OPENING + work, given))


@pytest.mark.parametrize("vector", GOLDEN["blocks"], ids=lambda vector: vector["what"])
def test_blocks_open_as_everywhere(scripts: Scripts, vector: dict[str, str]) -> None:
    given = {"key": GOLDEN["workspace_key"], **vector}
    work = "return hex(await openBlock(keys, unhex(given.id), base64(given.sealed))) === hex(base64(given.plain));"
    assert scripts.run(OPENING + work, given) is True


def test_the_largest_block_opens(scripts: Scripts) -> None:
    plain = bytes(range(251)) * (BLOCK_MAX_BYTES // 251)
    plain += bytes(BLOCK_MAX_BYTES - len(plain))
    block = KEYS.block_id(plain)
    given = {
        "key": GOLDEN["workspace_key"],
        "block": block.hex(),
        "sealed": b64encode(seal(KEYS, block, plain)).decode(),
    }
    work = """const plain = await openBlock(keys, unhex(given.block), base64(given.sealed));
        return [plain.length, plain.slice(0, -1000).every((byte, at) => byte === at % 251)];"""
    assert scripts.run(OPENING + work, given) == [BLOCK_MAX_BYTES, True]


def test_a_block_that_was_changed_does_not_open(scripts: Scripts) -> None:
    block = KEYS.block_id(b"content" * 100)
    sealed = seal(KEYS, block, b"content" * 100)
    for place in (0, 4, 7, 11, 20, 30, len(sealed) - 1):
        changed = bytearray(sealed)
        changed[place] ^= 1
        expected = "LaterKey" if place == 7 else "DamagedBlock"
        assert _opened(scripts, block, changed).startswith(expected)
    assert _opened(scripts, KEYS.block_id(b"other"), sealed).startswith("DamagedBlock")
    assert _opened(scripts, block, sealed[:30]).startswith("DamagedBlock")


def test_a_block_that_an_editor_passed_off_as_another_does_not_open(scripts: Scripts) -> None:
    block = KEYS.block_id(b"what was asked for")
    assert _opened(scripts, block, seal(KEYS, block, b"something else")) == (
        "DamagedBlock: A block of this file is not what it claims to be."
    )


def test_manifests_are_read_and_cut_as_everywhere(scripts: Scripts) -> None:
    block = BlockId(bytes(range(32)))
    manifest = Manifest.of([Piece(block, 1000), Piece(HOLE, 1 << 33), Piece(block, 7), Piece(block, BLOCK_MAX_BYTES)])
    end = manifest.size_bytes
    ranges = [(0, end), (999, 1), (1000, 1 << 33), (500, 1000), ((1 << 33) + 900, 200), (end - 1, 1), (end, 5), (0, 0)]
    found = scripts.run(
        """const { pieces, sizeOf, spans } = await import("/manifest.js");
        const all = pieces(base64(given[0]));
        const cut = (start, stop) => [...spans(all, start, stop)].map(({ id, from, to }) => [id && hex(id), from, to]);
        return [sizeOf(all), given[1].map(([start, length]) => cut(start, start + length))];
        """,
        [b64encode(manifests.encode(manifest)).decode(), ranges],
    )
    assert found == [
        end,
        [
            [
                [None if span.piece.is_hole else span.piece.block.hex(), span.start, span.stop]
                for span in manifest.spans(start, length)
            ]
            for start, length in ranges
        ],
    ]


@pytest.mark.parametrize("broken", [b"", b"\2", b"\1abc", b"\1" + bytes(40), b"\1" + b"x" * 32 + b"\xff" * 8])
def test_what_is_no_manifest_is_refused(scripts: Scripts, broken: bytes) -> None:
    work = """const { pieces } = await import("/manifest.js");
        return outcome(new Promise((resolve) => resolve(pieces(base64(given)))));"""
    assert "unknown form" in scripts.run(work, b64encode(broken).decode())


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-", [0, 100]),
        ("bytes=10-19", [10, 20]),
        ("bytes=90-500", [90, 100]),
        ("bytes=-5", [95, 100]),
        ("bytes=100-", None),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=1-2", None),
    ],
)
def test_a_range_is_one_of_bytes_that_are_there(scripts: Scripts, header: str, found: list[int] | None) -> None:
    assert scripts.run('return (await import("/serving.js")).rangeOf(given, 100);', header) == found
