"""Makes a failing program short: steps are left out, then made plainer, as long as it still fails. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tests.differential.program import ROOT_USER, Step

Fails = Callable[[Sequence[Step]], bool]


def shrunk(program: Sequence[Step], fails: Fails, *, tries: int) -> list[Step]:
    """A program that fails too, and that gets no shorter by leaving out any one step; less where tries run out."""
    budget = _Budget(fails, tries)
    best = list(program)
    size = max(1, len(best) // 2)
    while size >= 1:
        best, smaller = _without_runs(best, size, budget)
        size = size if smaller and size == 1 else size // 2
    return _plainer(best, budget)


class _Budget:
    def __init__(self, fails: Fails, tries: int) -> None:
        self._fails = fails
        self._left = tries

    def still_fails(self, program: Sequence[Step]) -> bool:
        """False, too, where no try is left."""
        if self._left == 0:
            return False
        self._left -= 1
        return self._fails(program)


def _without_runs(program: list[Step], size: int, budget: _Budget) -> tuple[list[Step], bool]:
    """The program with runs of ``size`` steps left out, from its end on, and whether any was."""
    smaller = False
    at = len(program) - size
    while at > -size:
        candidate = [*program[: max(at, 0)], *program[at + size :]]
        if budget.still_fails(candidate):
            program, smaller = candidate, True
        at -= size
    return program, smaller


def _plainer(program: list[Step], budget: _Budget) -> list[Step]:
    for place in range(len(program)):
        smaller = True
        while smaller:
            smaller = False
            for step in _plainer_steps(program[place]):
                candidate = [*program[:place], step, *program[place + 1 :]]
                if budget.still_fails(candidate):
                    program, smaller = candidate, True
                    break
    return program


def _plainer_steps(step: Step) -> Iterator[Step]:
    if step.user != ROOT_USER:
        yield step._replace(user=ROOT_USER)
    for place, argument in enumerate(step.arguments):
        for value in _plainer_values(argument):
            yield step._replace(arguments=(*step.arguments[:place], value, *step.arguments[place + 1 :]))


def _plainer_values(argument: object) -> Iterator[object]:
    if isinstance(argument, int) and not isinstance(argument, bool) and argument > 1:
        yield 1
        if argument > 10:
            yield 10
    if isinstance(argument, str) and "/" in argument:
        yield argument.rsplit("/", 1)[-1]
