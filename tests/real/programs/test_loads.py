"""A little of what ``scripts/soak programs`` does for long."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.programs import loads


@pytest.mark.parametrize(("engine", "block"), [("psync", "1k-64k"), ("mmap", "4k")])
def test_fio_reads_back_what_it_wrote(drive: Path, engine: str, block: str) -> None:
    loads.fio(drive, "4m", engine=engine, block=block)


@pytest.mark.parametrize(
    "stressor", ["access", "copy-file", "dir", "flock", "getdent", "hdd", "iomix", "open", "rename", "utime", "xattr"]
)
def test_stress_ng_finds_no_fault(drive: Path, stressor: str) -> None:
    loads.stress(drive, stressor, 1)


def test_dbench_runs_through(drive: Path) -> None:
    loads.dbench(drive, 2, 2)


def test_bonnie_runs_through(drive: Path) -> None:
    loads.bonnie(drive, 4, 0)
