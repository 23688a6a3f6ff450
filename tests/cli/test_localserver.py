"""The server that ``up`` runs: one, found again, and ended."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import click
import pytest

from cli.localserver import LocalServer


def test_it_is_found_again_by_another_look(server: LocalServer, tmp_path: Path) -> None:
    again = LocalServer(tmp_path / "data", tmp_path / "server.log")
    assert again.running() == server.running() is not None
    assert again.url == server.url


def test_a_stopped_one_has_ended(server: LocalServer) -> None:
    process = server.running()
    assert process is not None
    server.stop(process)
    assert server.running() is None


def test_it_comes_back_at_the_same_address(server: LocalServer) -> None:
    before, process = server.url, server.running()
    assert process is not None
    server.stop(process)
    server.start()
    assert server.url == before


def test_a_killed_one_is_not_taken_for_running(server: LocalServer) -> None:
    process = server.running()
    assert process is not None
    end = os.pidfd_open(process)
    os.kill(process, signal.SIGKILL)
    os.waitid(os.P_PIDFD, end, os.WEXITED)
    os.close(end)
    assert server.running() is None


def test_why_it_does_not_start_is_told(tmp_path: Path) -> None:
    server = LocalServer(tmp_path / "data", tmp_path / "server.log")
    with server.alone(), socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # Connections of an earlier test may linger there.
        other.bind(("127.0.0.1", int(server.url.rpartition(":")[2])))
        other.listen()
        with pytest.raises(click.ClickException, match=r"did not start: can't listen on 127\.0\.0\.1:\d+"):
            server.start()
        assert server.running() is None
