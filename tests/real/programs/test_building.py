"""Compilers, make, and the package managers of Python and node. What they install lies beside the test."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path

from tests.real.harness import REPOSITORY
from tests.real.programs.conftest import Run


def test_gcc_builds_a_program_that_runs(drive: Path, run: Run) -> None:
    for number in range(10):
        (drive / f"part{number}.c").write_text(f"int part{number}(void) {{ return {number}; }}\n")
    calls = " + ".join(f"part{number}()" for number in range(10))
    declared = "".join(f"int part{number}(void);\n" for number in range(10))
    (drive / "main.c").write_text(f'#include <stdio.h>\n{declared}int main(void) {{ printf("%d\\n", {calls}); }}\n')
    for name in [*(f"part{number}" for number in range(10)), "main"]:
        run("gcc", "-O1", "-g", "-c", f"{name}.c", "-o", f"{name}.o", cwd=drive)
    run("sh", "-c", "ar rcs libparts.a part*.o && gcc main.o -L. -lparts -o program", cwd=drive)
    assert run(drive / "program") == "45\n"


def test_make_builds_what_changed_and_nothing_else(drive: Path, run: Run) -> None:
    (drive / "Makefile").write_text("program: main.o part.o\n\tcc -o $@ $^\n%.o: %.c\n\tcc -c -o $@ $<\n")
    (drive / "part.c").write_text("int part(void) { return 7; }\n")
    (drive / "main.c").write_text("int part(void);\nint main(void) { return part() - 7; }\n")
    assert run("make", "-j2", cwd=drive).count("cc") == 3
    run(drive / "program")
    assert "up to date" in run("make", cwd=drive)
    (drive / "part.c").write_text("int part(void) { return 3 + 4; }\n")
    again = run("make", cwd=drive)
    assert "part.c" in again
    assert "main.c" not in again


def test_python_compiles_and_imports(drive: Path, run: Run) -> None:
    shutil.copytree(REPOSITORY / "protocol", drive / "protocol", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "compileall", "-q", drive / "protocol")
    assert len(list((drive / "protocol" / "__pycache__").iterdir())) == len(list((drive / "protocol").glob("*.py")))
    assert run(
        sys.executable, "-c", "import protocol.limits; print(protocol.limits.__file__)", cwd=drive
    ).strip() == str(drive / "protocol" / "limits.py")


def wheel(folder: Path) -> Path:
    """A package with one module and one program (PEP 427)."""
    files = {
        "greeting/__init__.py": "def main() -> None:\n    print('hello')\n",
        "greeting-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1\n",
        "greeting-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "greeting-1.dist-info/entry_points.txt": "[console_scripts]\ngreet = greeting:main\n",
    }
    record = "greeting-1.dist-info/RECORD"
    path = folder / "greeting-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(record, "".join(f"{name},,\n" for name in (*files, record)))
    return path


def test_pip_installs_a_package_into_a_virtual_environment(drive: Path, run: Run) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", drive / "venv")
    pip = (sys.executable, "-m", "pip", "--python", drive / "venv" / "bin" / "python")
    run(*pip, "install", "--no-index", wheel(drive))
    assert run(drive / "venv" / "bin" / "greet") == "hello\n"
    run(*pip, "check")
    run(*pip, "uninstall", "-y", "greeting")
    assert not (drive / "venv" / "bin" / "greet").exists()


def test_npm_installs_a_package_and_node_runs_it(drive: Path, run: Run) -> None:
    package, app = drive / "package", drive / "app"
    (package / "lib").mkdir(parents=True)
    (package / "package.json").write_text(
        json.dumps({"name": "greeting", "version": "1.0.0", "main": "lib/main.js", "bin": {"greet": "lib/greet.js"}})
    )
    (package / "lib" / "main.js").write_text("module.exports = () => 'hello';\n")
    (package / "lib" / "greet.js").write_text("#!/usr/bin/env node\nconsole.log(require('./main.js')());\n")
    tarball = run("npm", "pack", "--silent", "--offline", cwd=package).strip()
    app.mkdir()
    (app / "package.json").write_text(json.dumps({"name": "app", "version": "1.0.0", "private": True}))
    quiet = ("--offline", "--no-audit", "--no-fund", "--no-update-notifier")
    run("npm", "install", *quiet, package / tarball, cwd=app)
    assert run("node", "-e", "console.log(require('greeting')())", cwd=app) == "hello\n"
    assert run(app / "node_modules" / ".bin" / "greet") == "hello\n"
    run("npm", "ci", *quiet, cwd=app)
    assert run("node", "-e", "console.log(require('greeting')())", cwd=app) == "hello\n"
