"""The same work on a Samedrive mount, the local disk, sshfs, rclone and davfs2, in one run: prints tables.

    ./scripts/bench                    everything; about half an hour, most of it waiting for 50 ms
    ./scripts/bench --quick            a quarter of the bytes, a fifth of the files
    ./scripts/bench --only samedrive --only sshfs --rtt-ms 0
    ./scripts/bench --write            keeps the result as docs/benchmarks.md

What isn't installed is left out and said so. Debian's packages: sshfs, openssh-server, rclone, davfs2 (for root).

How it is counted
- Writes count until durable on the server: the clock stops when that is so. See ``benchmarks.subjects`` for how each
  is known, and what is done in whose favour.
- Cold: nothing is cached on the client. Warm: what the mount keeps by itself is there, the kernel's pages of the file
  are dropped. Re-read: straight after a read. The server's own disk cache is warm for all.
- At a round-trip time above 0 all bytes go through a proxy that delays and counts them (``tests.real.proxy``); at 0
  there is none. A new connection costs one round trip more, as it does in a network.
- Rows of many small things stop after ``--cap-s`` seconds and tell the rate until then. A row that does one thing and
  isn't done at four times that is ended, and shows "-".
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.connection
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from benchmarks import work  # noqa: E402
from benchmarks.subjects import SUBJECTS, LocalDisk, Subject  # noqa: E402
from tests.real.harness import Failed  # noqa: E402

HARD_CAP_FACTOR: Final = 4
RESULT: Final = REPOSITORY / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Sizes:
    """How much work there is. ``cap_s`` is when a row of many things stops."""

    large_bytes: int
    pieces: int
    small_files: int
    cap_s: float


@dataclass(frozen=True)
class Measured:
    """How much was done in which time, and what crossed the wire where that was counted."""

    amount: float
    seconds: float
    bytes_up: int | None = None
    bytes_down: int | None = None


class TimedOut(Exception):
    """A piece of work was not done at its cap."""


def _work(pipe: multiprocessing.connection.Connection, do: Callable[[], float]) -> None:
    start = time.monotonic()
    try:
        amount: float | str = do()
    except OSError as error:
        amount = str(error)
    pipe.send((start, time.monotonic(), amount))


def in_process(do: Callable[[], float], cap_s: float) -> tuple[float, float, float]:
    """Do it in a process that can be ended: when it began, when it ended, how much it did.

    Raises TimedOut; Failed where a system call failed.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, do))
    process.start()
    theirs.close()
    try:
        if not ours.poll(cap_s):
            raise TimedOut
        start, end, amount = ours.recv()
    except EOFError:
        raise Failed("the work's process died") from None
    finally:
        process.kill()
        process.join(10)
        ours.close()
    if isinstance(amount, str):
        raise Failed(amount)
    return start, end, amount


Arrived = Callable[[Path, float], bool]
"""Whether the server's folder holds what a piece of work wrote that did so much: see ``Subject.make_durable``."""


@dataclass
class Bench:
    """One subject at one round-trip time: its rows in order, each building on what those before left."""

    subject: Subject
    sizes: Sizes
    data: bytes
    rows: dict[str, Measured | None] = field(default_factory=dict)

    def measure(self, name: str, do: Callable[[float], float], arrived: Arrived | None = None) -> None:
        """``do`` takes its deadline; ``arrived`` is given for what writes.

        A row that fails is None, and says why on standard error.
        """
        self.subject.counts()
        try:
            deadline = time.monotonic() + self.sizes.cap_s
            start, end, amount = in_process(lambda: do(deadline), self.sizes.cap_s * HARD_CAP_FACTOR)
            if arrived is not None:
                self.subject.make_durable(lambda kept: arrived(kept, amount))
                end = time.monotonic()
        except (TimedOut, Failed, OSError, subprocess.CalledProcessError) as error:
            print(f"  {self.subject.name}: {name}: {error or 'not done in time'}", file=sys.stderr, flush=True)
            self.rows[name] = None
            return
        counts = self.subject.counts()
        self.rows[name] = Measured(
            amount, end - start, counts.bytes_up if counts else None, counts.bytes_down if counts else None
        )
        print(f"  {self.subject.name}: {name}: {shown(name, self.rows[name])}", file=sys.stderr, flush=True)

    def run(self) -> None:
        subject, sizes, data = self.subject, self.sizes, self.data
        large, again, folder = subject.path / "large", subject.path / "again", subject.path / "small"

        def large_arrived(kept: Path, _: float) -> bool:
            return work.holds(kept / "large", len(data), 0, data[: work.MIB])

        def write_large() -> float:
            return work.write_whole(large, data)

        self.measure("write", lambda _: write_large(), large_arrived)
        if self.rows["write"] is None:
            self.prepare(write_large, large_arrived)
        self.forget(large)
        self.measure("read, cold", lambda _: work.read_whole(large))
        self.prepare(lambda: work.read_whole(large))
        work.drop_pages(large)
        self.measure("read, warm", lambda _: work.read_whole(large))
        self.measure("re-read", lambda _: work.read_whole(large))
        self.forget(large)
        self.measure("random 4 KiB reads, cold", lambda deadline: work.read_pieces(large, sizes.pieces, deadline))
        self.measure(
            "second copy",
            lambda _: work.write_whole(again, data),
            lambda kept, _: work.holds(kept / "again", len(data), 0, data[: work.MIB]),
        )
        patch = work.patch()
        at = len(data) // 2 + 123
        self.measure(
            "4 KiB overwritten",
            lambda _: work.overwrite(large, at, patch),
            lambda kept, _: work.holds(kept / "large", len(data), at, patch),
        )
        self.measure(
            "1 byte inserted at the front",
            lambda _: work.insert_at_front(large, data),
            lambda kept, _: work.holds(kept / "large", len(data) + 1, 0, b"!" + data[: work.MIB]),
        )

        self.measure(
            "small files written",
            lambda deadline: work.write_small(folder, 0, sizes.small_files, deadline),
            lambda kept, count: work.holds_small(kept / "small", int(count)),
        )
        written = self.rows["small files written"]
        if written is None or written.amount < sizes.small_files:
            first = int(written.amount) if written else 0
            self.prepare(
                lambda: work.write_small(folder, first, sizes.small_files, float("inf")),
                lambda kept, count: work.holds_small(kept / "small", first + int(count)),
            )
        self.forget()
        self.measure("small files listed, cold", lambda _: work.list_small(folder))
        self.measure("small files listed, warm", lambda _: work.list_small(folder))
        self.forget(*(folder / name for name in work.small_names(sizes.small_files)))
        self.measure("small files read, cold", lambda deadline: work.read_small(folder, sizes.small_files, deadline))
        read = self.rows["small files read, cold"]
        if read is not None:
            warm = int(read.amount)  # Those that have been read.
            self.measure("small files read, warm", lambda deadline: work.read_small(folder, warm, deadline))
        self.measure("small files removed", lambda deadline: work.remove_small(folder, deadline), lambda *_: True)

    def prepare(self, do: Callable[[], float], arrived: Arrived = lambda *_: True) -> None:
        """Work that isn't measured, and has no delay to suffer."""
        with self.subject.near():
            try:
                _, _, amount = in_process(do, 600)
                self.subject.make_durable(lambda kept: arrived(kept, amount))
            except (TimedOut, Failed) as error:
                print(f"  {self.subject.name}: preparing: {error or 'not done in time'}", file=sys.stderr)

    def forget(self, *files: Path) -> None:
        """The local disk's cache is the kernel's alone, so that there the files' pages are dropped."""
        with self.subject.near():
            self.subject.forget()
        if isinstance(self.subject, LocalDisk):
            for file in files:
                work.drop_pages(file)


UNITS: Final = {
    "write": "MiB/s",
    "read, cold": "MiB/s",
    "read, warm": "MiB/s",
    "re-read": "MiB/s",
    "random 4 KiB reads, cold": "/s",
    "second copy": "s",
    "4 KiB overwritten": "s",
    "1 byte inserted at the front": "s",
    "small files written": "/s",
    "small files listed, cold": "/s",
    "small files listed, warm": "/s",
    "small files read, cold": "/s",
    "small files read, warm": "/s",
    "small files removed": "/s",
}
WITH_BYTES: Final = frozenset(
    {"write", "random 4 KiB reads, cold", "second copy", "4 KiB overwritten", "1 byte inserted at the front"}
)


def shown(row: str, measured: Measured | None) -> str:
    """A cell of the table."""
    if measured is None:
        return "-"
    unit = UNITS[row]
    value = measured.seconds if unit == "s" else measured.amount / max(measured.seconds, 1e-9)
    text = f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.3f}"
    text += f" {unit}" if unit != "/s" else unit
    if row in WITH_BYTES and measured.bytes_up is not None and measured.bytes_down is not None:
        moved = max((measured.bytes_up, "up"), (measured.bytes_down, "down"))
        text += f", {moved[0] / 1e6:,.2f} MB {moved[1]}"
    return text


def table(rtt_ms: float, benches: Sequence[Bench]) -> str:
    """Markdown."""
    heading = "On loopback" if rtt_ms == 0 else f"At {rtt_ms:g} ms round-trip time"
    lines = [
        f"## {heading}",
        "",
        "| work | " + " | ".join(bench.subject.name for bench in benches) + " |",
        "|---|" + "---:|" * len(benches),
    ]
    lines += [f"| {row} | " + " | ".join(shown(row, bench.rows.get(row)) for bench in benches) + " |" for row in UNITS]
    return "\n".join(lines) + "\n"


def version_of(*command: str) -> str:
    """The first line that a program says of its version."""
    if shutil.which(command[0]) is None:
        return "not installed"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    first = (done.stdout + done.stderr).strip().splitlines()[0]
    return first.split("<")[0].strip()  # davfs2 tells its home page too.


def machine(folder: Path) -> str:
    """What this ran on."""
    info = Path("/proc/cpuinfo").read_text()
    model = next((line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    disk = subprocess.run(
        ("findmnt", "-no", "FSTYPE,OPTIONS", "-T", str(folder)), capture_output=True, text=True, check=False
    )
    facts = (
        f"{datetime.now(UTC):%Y-%m-%d}",
        f"{os.cpu_count()} x {model}",
        f"{memory:.0f} GiB memory",
        f"Linux {platform.release()}",
        " ".join(disk.stdout.split()),
        f"Python {platform.python_version()}",
        version_of("sshfs", "--version"),
        version_of("ssh", "-V"),
        version_of("rclone", "version"),
        version_of("mount.davfs", "--version"),
    )
    return "; ".join(facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [each.name for each in SUBJECTS]
    parser.add_argument("--quick", action="store_true", help="64 MiB, 200 small files, shorter caps")
    parser.add_argument("--rtt-ms", default="0,50", help="round-trip times, with commas (default: 0,50)")
    parser.add_argument("--only", action="append", choices=names, help="measure this; can be repeated")
    parser.add_argument("--cap-s", type=float, help="when rows of many things stop (default: 60, quick: 15)")
    parser.add_argument("--folder", type=Path, help="where to keep data meanwhile (default: a temporary folder)")
    parser.add_argument("--write", action="store_true", help=f"keep the result in {RESULT.relative_to(REPOSITORY)}")
    parser.add_argument("--note", default="", help="a sentence for the page: what else the machine did, say")
    chosen = parser.parse_args()
    sizes = (
        Sizes(64 * work.MIB, 50, 200, chosen.cap_s or 15)
        if chosen.quick
        else Sizes(256 * work.MIB, 200, 1000, chosen.cap_s or 60)
    )
    data = work.content(sizes.large_bytes)
    with tempfile.TemporaryDirectory(prefix="samedrive-bench-", dir=chosen.folder) as name:
        folder = Path(name)
        about = (
            f"{machine(folder)}.\n\n{sizes.large_bytes / work.MIB:.0f} MiB that can't be compressed; "
            f"{sizes.pieces} random reads; {sizes.small_files} files of {work.SMALL_BYTES} bytes. "
            f"Writes count until durable on the server. {chosen.note}".strip()
            + "\n"
        )
        print(about)
        parts = []
        for rtt_ms in [float(each) for each in chosen.rtt_ms.split(",")]:
            benches = []
            for kind in SUBJECTS:
                if (chosen.only and kind.name not in chosen.only) or (rtt_ms and kind is LocalDisk):
                    continue
                if missing := kind.missing():
                    print(f"{kind.name} is left out: there is no {missing}", file=sys.stderr)
                    continue
                bench = Bench(kind(folder / f"{kind.__name__}-{rtt_ms:g}", rtt_ms / 1000), sizes, data)
                try:
                    bench.subject.start()
                    bench.run()
                except (Failed, OSError, subprocess.CalledProcessError) as error:
                    print(f"{kind.name} stopped: {error}", file=sys.stderr)
                finally:
                    bench.subject.stop()
                benches.append(bench)
            parts.append(table(rtt_ms, benches))
            print(parts[-1], flush=True)
    if chosen.write:
        RESULT.parent.mkdir(exist_ok=True)
        head = (
            "# Benchmarks\n\n`./scripts/bench --write` made this page; its `--help` says how it counts, and "
            "`performance.md` where the time goes.\n\n"
        )
        RESULT.write_text(head + about + "\n" + "\n".join(parts))


if __name__ == "__main__":
    main()
