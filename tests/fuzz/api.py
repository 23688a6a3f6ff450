"""Random requests by the OpenAPI document to a real server: nothing but documented answers comes, and no 5xx.

Most requests are about a workspace and names that are there; else nothing but 404 would be seen.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import httpx
import hypothesis
import requests
import schemathesis
import trio
from hypothesis import strategies
from schemathesis import GenerationMode, checks
from schemathesis.core.parameters import ParameterLocation

from protocol.messages.wire import OCTETS
from server.app import ROUTES
from server.describing import descriptions
from server.tus import OFFSET_OCTETS
from tests.real.harness import Server
from tests.server.tree import Tree, by_a_mount, new_token

NAMES: Final = ("file", "folder", "new", "é", "")
ROUTED: Final = [one.name for one in descriptions(ROUTES)]
"""The operations that this server has routes for."""

_MODES: Final = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
_TIMEOUT_S: Final = 30.0
schemathesis.serializer.alias(OFFSET_OCTETS, OCTETS)
_NAMES = strategies.sampled_from(NAMES) | strategies.none()


class Target(NamedTuple):
    """A server, what it says of itself, and who asks."""

    server: Server
    schema: schemathesis.BaseSchema
    token: str
    spare: str
    """A token that may be revoked."""
    workspace: str
    upload: str
    """A resumable upload of which some bytes have come."""

    def check(self, name: str, examples: int, seed: int) -> None:
        """Random requests of one operation; raises an AssertionError that says how to repeat the one that failed."""
        operation = self.schema.find_operation_by_id(name)
        token = self.spare if name == "logout" else self.token

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=examples, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
        )
        @hypothesis.given(strategies.one_of([operation.as_strategy(generation_mode=mode) for mode in _MODES]), _NAMES)
        def one(case: schemathesis.Case, known: str | None) -> None:
            broken = _broken(case)
            if ParameterLocation.PATH not in broken:
                self._aim(case, known)
            # What is sought here may not be there, whatever the document says of its form.
            excluded = [checks.positive_data_acceptance]
            if broken & {ParameterLocation.PATH, ParameterLocation.HEADER}:
                excluded.append(checks.negative_data_rejection)  # The token is put right.
            headers = {"Authorization": f"Bearer {token}"}
            response = case.call(base_url=self.server.url, headers=headers, timeout=_TIMEOUT_S)
            case.validate_response(response, excluded_checks=excluded)

        one()

    def _aim(self, case: schemathesis.Case, known: str | None) -> None:
        if "workspace" in case.path_parameters:
            case.path_parameters["workspace"] = self.workspace
        if "upload" in case.path_parameters and known is not None:
            case.path_parameters["upload"] = self.upload
        if "path" in case.path_parameters and known is not None:
            case.path_parameters["path"] = known
        if isinstance(case.body, dict) and known is not None:
            aimed = {"from": quote(known), "path": quote(known)}
            case.body |= {field: path for field, path in aimed.items() if isinstance(case.body.get(field), str)}


def _broken(case: schemathesis.Case) -> set[ParameterLocation]:
    """The parts of a request that are not as the document has them."""
    if case.meta is None:
        return set()
    return {where for where, info in case.meta.components.items() if info.mode is GenerationMode.NEGATIVE}


@contextmanager
def target(folder: Path) -> Iterator[Target]:
    """A server on which there are folders and a file of some versions, and others were removed."""
    server = Server(folder).start()
    try:
        password = server.admin_password_file.read_text().strip()
        token, workspace, upload, spare = trio.run(_filled, server.url, password)
        document = requests.get(f"{server.url}/v1/openapi.json", timeout=_TIMEOUT_S).json()
        yield Target(server, schemathesis.openapi.from_dict(document), token, spare, workspace, upload)
    finally:
        server.close()


async def _filled(url: str, password: str) -> tuple[str, str, str, str]:
    """A token, the workspace in which its device has made things, an upload there, and a spare token."""
    async with httpx.AsyncClient(base_url=url) as http:
        tree = await by_a_mount(http, password, "fuzz")
        for name in ("folder", "removed"):
            await tree.folder(name)
            await tree.file(f"{name}/file", b"first", b"second")
        await tree.file("file", b"first", b"second", b"third")
        await tree.call("DELETE", "folders/removed?recursive=1")
        upload = await _begun(tree)
        return tree.client.token, tree.client.workspace, upload, await new_token(http, password, "spare")


async def _begun(tree: Tree) -> str:
    """A resumable upload of which some bytes have come."""
    path = base64.b64encode(b"uploaded").decode()
    headers = {
        "Authorization": f"Bearer {tree.client.token}",
        "Tus-Resumable": "1.0.0",
        "Upload-Length": "10",
        "Upload-Metadata": f"path {path}",
        "Content-Type": "application/offset+octet-stream",
    }
    made = await tree.client.http.post(f"/v1/tus/{tree.client.workspace}", headers=headers, content=b"some")
    return made.raise_for_status().headers["location"].rpartition("/")[2]
