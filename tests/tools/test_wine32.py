"""setup.sh adds Debian's architecture i386 only for `make test-i686`."""

import pathlib
import shutil
import subprocess

import pytest

from support import IO_TIMEOUT, ROOT, TEXT, WINDOWS

pytestmark = pytest.mark.skipif(WINDOWS, reason="there is nothing to set up")

WINE32 = pathlib.Path("/usr/lib/i386-linux-gnu/wine/i386-windows/ntdll.dll")
STUB = """#!/bin/sh
echo "${{0##*/}} $*" >>'{log}'
"""


@pytest.fixture
def calls(tmp_path):
    """calls(*parts): returns the commands by which setup.sh, as root, installs
    these parts on an empty machine."""
    tools, log = tmp_path / "tools", tmp_path / "log"
    tools.mkdir()
    for name in ("sh", "env", "flock", "mktemp", "rm", "tail"):
        (tools / name).symlink_to(shutil.which(name))
    for name, text in (("id", "#!/bin/sh\necho 0\n"),
                       ("dpkg", STUB.format(log=log)),
                       ("apt-get", STUB.format(log=log))):
        (tools / name).write_text(text, encoding="utf-8")
        (tools / name).chmod(0o755)

    def run(*parts):
        log.write_text("", encoding="utf-8")
        subprocess.run(["sh", ROOT / "scripts" / "setup.sh", *parts],
                       env={"PATH": str(tools)}, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, timeout=IO_TIMEOUT,
                       check=True)
        return log.read_text(encoding="utf-8").splitlines()
    return run


def test_nothing_else_adds_an_architecture(calls):
    update, install = calls()
    assert update == "apt-get update"
    assert " wine wine64 " in install and "i386" not in install


@pytest.mark.skipif(WINE32.exists(), reason="there is nothing to install")
def test_who_asks_for_it_gets_it(calls):
    assert calls("wine32") == [
        "dpkg --add-architecture i386", "apt-get update",
        "apt-get install --yes --no-install-recommends wine32:i386"]


def test_one_target_asks_for_it():
    def recipe(target):
        return subprocess.run(["make", "-n", target], cwd=ROOT, check=True,
                              stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=IO_TIMEOUT, **TEXT).stdout
    assert "setup.sh wine wine32 pytest" in recipe("test-i686")
    for target in ("all", "steps", "run", "demo", "bench", "test", "i686",
                   "soak", "analyze"):
        assert "wine32" not in recipe(target)
