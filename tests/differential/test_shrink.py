from __future__ import annotations

from collections.abc import Sequence

from tests.differential.program import Profile, Step, program
from tests.differential.shrink import shrunk

A, B, OTHER = Step("mkdir", ("a", 0o700)), Step("rmdir", ("a",)), Step("unlink", ("c",))


def needs_both(steps: Sequence[Step]) -> bool:
    calls = [step.call for step in steps]
    return "mkdir" in calls and "rmdir" in calls[calls.index("mkdir") :]


def test_what_does_not_matter_is_left_out() -> None:
    steps = [OTHER, A, OTHER, OTHER, B, OTHER]
    assert [step.call for step in shrunk(steps, needs_both, tries=100)] == ["mkdir", "rmdir"]


def test_what_is_left_is_made_plain() -> None:
    steps = [Step("write", ("f0", 7, 70_000), 1001)]
    assert shrunk(steps, lambda some: len(some) == 1, tries=100) == [Step("write", ("f0", 1, 1))]


def test_without_tries_left_it_fails_still() -> None:
    steps = [OTHER, A, OTHER, OTHER, B, OTHER] * 10
    for tries in range(20):
        assert needs_both(shrunk(steps, needs_both, tries=tries))


def test_a_seed_makes_the_same_program_each_time() -> None:
    assert program(5, 200, Profile()) == program(5, 200, Profile())
    assert program(5, 200, Profile()) != program(6, 200, Profile())
