"""Programs run as a person runs them: with a home of their own, and their word for whether all went well."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.harness import environment

Run = Callable[..., str]
LIMIT_S = 180.0


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {
        **environment(tmp_path / "home"),
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }


@pytest.fixture
def run(env: dict[str, str]) -> Run:
    """Run a program, which must end well; returns what it said."""

    def run(*command: str | Path, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [str(each) for each in command],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    return run
