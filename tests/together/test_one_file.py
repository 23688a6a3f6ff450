"""Random reads, writes and cuts of one file above a modelled kernel, with what is sent and mounted anew in between."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
import trio

from tests.differential.calls import content_of
from tests.differential.kernel import FullKernel
from tests.differential.onefile import WITHOUT_KERNEL, Model, mismatch, program
from tests.differential.program import Step
from tests.together.mounted import Machine
from tests.together.world import World

LENGTH = 800


class OneFile:
    """The file on one mount, and its model."""

    def __init__(self, kernel: FullKernel, model: Model) -> None:
        self._kernel = kernel
        self._model = model

    async def run(self, steps: Sequence[Step]) -> None:
        """All of these but the last, which is the mount's end."""
        await self.open()
        for step in steps:
            wrong = await getattr(self, step.call)(*step.arguments)
            assert wrong is None, f"{step}: {wrong}"
            size = (await self._kernel.fstat(self._file)).st_size
            assert size == len(self._model.content), step
        assert await self.look() is None
        await self._kernel.close(self._file)

    async def open(self) -> None:
        file = await self._kernel.open("file", os.O_RDWR | os.O_CREAT)
        assert file is not None
        self._file = file

    async def read(self, offset: int, length: int) -> str | None:
        found = await self._kernel.read(self._file, offset, length)
        return mismatch(self._model.read(offset, length), found, offset)

    async def write(self, offset: int, length: int, token: int) -> None:
        data = content_of(token, length)
        await self._kernel.write(self._file, offset, data)
        self._model.write(offset, data)

    async def append(self, length: int, token: int, largest: int) -> None:
        data = self._model.appended(length, token, largest)
        if data:
            await self._kernel.write(self._file, len(self._model.content), data)
            self._model.write(len(self._model.content), data)

    async def truncate(self, size: int) -> None:
        await self._kernel.truncate(self._file, size)
        self._model.truncate(size)

    async def sync(self) -> None:
        await self._kernel.fsync(self._file)

    async def reopen(self) -> None:
        await self._kernel.close(self._file)
        await self.open()

    async def look(self) -> str | None:
        return mismatch(bytes(self._model.content), await self._kernel.read(self._file, 0, 1 << 40), 0)


@pytest.mark.parametrize("seed", range(8))
async def test_a_file_holds_what_was_written(world: World, autojump_clock: trio.abc.Clock, seed: int) -> None:
    machine, model, steps = Machine(world, "desk"), Model(), program(seed, LENGTH, WITHOUT_KERNEL)
    ends = [place for place, step in enumerate(steps) if step.call.startswith("remount")]
    for begin, end in zip([-1, *ends], [*ends, len(steps)], strict=True):
        async with machine.mounted() as kernel:
            await OneFile(kernel, model).run(steps[begin + 1 : end])
