"""The contract on real mounts, under each fault once (``consistency.py``). ``scripts/soak real`` goes on.

The order of the programs on a real machine is never the same twice, so a failure says in which folder its history lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.consistency import FAULTS, Contract, serving


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contract]:
    folder: Path = tmp_path_factory.mktemp("contract")
    with serving(folder) as world:
        contract = Contract(world, folder / "rounds", seed=1)
        yield contract
        assert [(log.path, log.unexpected()) for log in contract.logs if log.unexpected()] == []


@pytest.mark.parametrize("fault", FAULTS)
def test_the_contract_holds(contract: Contract, fault: str) -> None:
    contract.run(fault)
