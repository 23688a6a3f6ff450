"""git."""

from __future__ import annotations

from pathlib import Path

from tests.real.programs.conftest import Run


def test_git_clones_commits_collects_and_checks(drive: Path, run: Run, tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    run("git", "init", "-q", "-b", "main", origin)
    for number in range(120):
        (origin / f"file{number}").write_text(f"{number}\n" * 200)
    run("git", "-C", origin, "add", "-A")
    run("git", "-C", origin, "commit", "-qm", "first")
    clone = drive / "clone"
    run("git", "clone", "-q", "--no-local", origin, clone)
    assert run("git", "-C", clone, "status", "--porcelain") == ""
    (clone / "file3").write_text("changed\n")
    (clone / "new").write_text("new\n")
    assert run("git", "-C", clone, "status", "--porcelain") == " M file3\n?? new\n"
    run("git", "-C", clone, "add", "-A")
    run("git", "-C", clone, "commit", "-qm", "second")
    run("git", "-C", clone, "checkout", "-qb", "branch", "HEAD~1")
    assert not (clone / "new").exists()
    run("git", "-C", clone, "gc", "-q", "--aggressive", "--prune=now")
    run("git", "-C", clone, "fsck", "--full", "--strict")
    assert run("git", "-C", clone, "status", "--porcelain") == ""
    run("git", "-C", clone, "push", "-q", "origin", "main:copy")
    assert run("git", "-C", origin, "rev-parse", "copy") == run("git", "-C", clone, "rev-parse", "main")


def test_git_worktrees_come_and_go(drive: Path, run: Run) -> None:
    repository = drive / "repository"
    run("git", "init", "-q", "-b", "main", repository)
    (repository / "file").write_text("one\n")
    run("git", "-C", repository, "add", "-A")
    run("git", "-C", repository, "commit", "-qm", "first")
    run("git", "-C", repository, "worktree", "add", "-q", "-b", "side", drive / "side")
    (drive / "side" / "file").write_text("two\n")
    run("git", "-C", drive / "side", "commit", "-qam", "second")
    assert (repository / "file").read_text() == "one\n"
    run("git", "-C", repository, "merge", "-q", "side")
    assert (repository / "file").read_text() == "two\n"
    run("git", "-C", repository, "worktree", "remove", drive / "side")
    assert not (drive / "side").exists()
    run("git", "-C", repository, "fsck", "--full", "--strict")


def test_a_commit_of_one_device_is_the_others_head(both: tuple[Path, Path], run: Run) -> None:
    one, other = (folder / "repository" for folder in both)
    run("git", "init", "-q", "-b", "main", one)
    for turn, (here, there) in enumerate([(one, other), (other, one)] * 2):
        (here / f"file{turn}").write_text("content\n")
        run("git", "-C", here, "add", "-A")
        run("git", "-C", here, "commit", "-qm", f"turn {turn}")
        assert run("git", "-C", there, "log", "-1", "--format=%s") == f"turn {turn}\n"
        assert run("git", "-C", there, "status", "--porcelain") == ""
