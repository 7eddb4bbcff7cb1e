"""The package to hand out: the same bytes each time, and all that it takes to
use it elsewhere."""

import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from browser import in_browser, use
from simulated import simulate
from support import IO_TIMEOUT, ROOT, TEXT, Server
from test_documents import broken_links

pytestmark = [
    pytest.mark.skipif(bool(simulate.why_not()), reason="Linux only"),
    pytest.mark.limit(400)]  # it builds all

BUILT = {".git", "build", "__pycache__", ".pytest_cache"}


def make_dist(tree):
    """Returns the zip's path."""
    done = subprocess.run(
        ["make", "--no-print-directory", "SETUP=", "dist"], cwd=tree,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=300, **TEXT)
    assert done.returncode == 0, done.stdout
    return tree / re.search(r"^(\S+\.zip): \d+ files", done.stdout, re.M)[1]


@pytest.fixture(scope="module")
def package():
    return make_dist(ROOT)


@pytest.fixture(scope="module")
def unpacked(package, tmp_path_factory):
    """Where a student unpacks it."""
    home = tmp_path_factory.mktemp("home") / "\ub0b4 \ubb38\uc11c (1)"
    with zipfile.ZipFile(package) as file:
        file.extractall(home)
    folder, = home.iterdir()
    assert folder.name == package.stem
    return folder


@pytest.mark.thorough
def test_it_is_the_same_from_another_directory(package, tmp_path):
    other = tmp_path / "\ud55c\uae00 & more"
    shutil.copytree(ROOT, other, ignore=lambda _, names: BUILT & set(names))
    again = make_dist(other)
    with zipfile.ZipFile(package) as one, zipfile.ZipFile(again) as two:
        assert one.namelist() == two.namelist() == sorted(one.namelist())
        differ = [name for name in one.namelist()
                  if one.read(name) != two.read(name)]
        assert differ == []
    assert package.name == again.name
    assert package.read_bytes() == again.read_bytes()


def test_what_is_in_it(unpacked):
    there = {path.relative_to(unpacked).as_posix()
             for path in unpacked.rglob("*")}
    for step in (ROOT / "src" / "steps").glob("*.c"):
        assert f"build/steps/{step.stem}.exe" in there
    for guide in [*ROOT.glob("*.md"), *ROOT.glob("s*/*.md")]:
        assert guide.relative_to(ROOT).as_posix() in there
    assert not {"Makefile", "NMakefile"} & there  # or run.cmd would build
    assert broken_links(unpacked) == []


def test_what_the_commands_start_is_there(unpacked):
    commands = list(unpacked.glob("scripts/*.cmd"))
    assert {"run.cmd", "live.cmd", "demo.cmd"} <= {x.name for x in commands}
    for command in commands:
        text = command.read_text(encoding="ascii")
        for name in re.findall(r'^set "script=(\w\S*)"$|"%~dp0([\w.]+)"',
                               text, re.M):
            assert (unpacked / "scripts" / "".join(name)).exists(), name


@pytest.mark.parametrize("script", ["echo_client.py", "demo.py", "live.py",
                                    "trace_view.py"])
def test_scripts_have_what_they_import(unpacked, script):
    done = subprocess.run(
        [sys.executable, str(unpacked / "scripts" / script), "--help"],
        cwd=unpacked, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, timeout=IO_TIMEOUT, **TEXT)
    assert (done.returncode, done.stderr) == (0, "")


def test_server_and_client(unpacked):
    server = Server(program=unpacked / "build" / "iocp_echo_server.exe")
    done = subprocess.run(
        [sys.executable, str(unpacked / "scripts" / "echo_client.py"),
         str(server.port), "--message", "hello"], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, timeout=IO_TIMEOUT, **TEXT)
    assert done.returncode == 0 and "hello" in done.stdout
    server.stop()


@in_browser
@pytest.mark.parametrize("page", [
    "scripts/playground.html", "lessons/lifo.html", "lessons/limit.html",
    "lessons/paused.html"])
@pytest.mark.parametrize("language, word", [("en", "worker"),
                                            ("ko", "\uc4f0\ub808\ub4dc")])
def test_pages(unpacked, page, language, word):
    seen = use(unpacked / page, "seen.text = document.body.innerText;",
               address=f"#lang={language}")
    assert word in seen["text"]
