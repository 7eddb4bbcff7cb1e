"""The first run and later ones: in any directory, by any user, whatever
another run does meanwhile."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from support import (IO_TIMEOUT, PROGRAM, ROOT, START_TIMEOUT, TEXT, WINDOWS,
                     launch, start_process, wait_until)

pytestmark = pytest.mark.skipif(WINDOWS, reason="there is nothing to set up")

# A Wine that logs what it is asked to do. It boots until `go` exists, and a
# program that finds an incomplete prefix fails.
WINE = """#!/bin/sh
cd '{directory}'
case $1 in
--kill|--wait) ;;
wineboot)
    mkdir "$WINEPREFIX/dosdevices" "$WINEPREFIX/drive_c"
    echo "boot $WINEPREFIX" >>log
    until [ -e go ]; do sleep 0.05 || exit; done
    echo registry >"$WINEPREFIX/system.reg" ;;
*)  [ -e "$WINEPREFIX/system.reg" ] || exit 9
    echo "run $WINEPREFIX" >>log
    ulimit -n
    env ;;
esac
"""


class Machine:
    """A machine with our scripts, on which Wine has never run."""

    def __init__(self, directory):
        self.directory = directory
        self.tree = directory / "copy"
        self.prefix = self.tree / "build" / "wine"
        tools = directory / "bin"
        shutil.copytree(ROOT / "scripts", self.tree / "scripts",
                        ignore=shutil.ignore_patterns("__pycache__"))
        (self.tree / "build").mkdir()
        (self.tree / "build" / "server.exe").write_bytes(b"MZ")
        tools.mkdir()
        for name in ("wine", "wineserver"):
            (tools / name).write_text(WINE.format(directory=directory),
                                      encoding="utf-8")
            (tools / name).chmod(0o755)
        self.path = f"{tools}{os.pathsep}{os.environ['PATH']}"

    def start(self, env=(), **options):
        return start_process(
            [sys.executable, "scripts/launch.py", "build/server.exe"],
            cwd=self.tree, env={**os.environ, "PATH": self.path, **dict(env)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, **TEXT, **options)

    def go(self):
        """Lets Wine finish booting."""
        (self.directory / "go").touch()

    def log(self):
        path = self.directory / "log"
        return path.read_text("utf-8").splitlines() if path.exists() else []

    def booted(self, times=1):
        return wait_until(lambda: len(self.log()) >= times)

    def is_clean(self):
        """Whether there is one complete prefix, and nothing else."""
        names = {path.name for path in (self.tree / "build").iterdir()}
        return (names == {"server.exe", "wine", "wine.lock"}
                and (self.prefix / "system.reg").exists())


def ended_well(process):
    _, err = process.communicate(timeout=IO_TIMEOUT)
    assert process.returncode == 0, err
    return err


PREPARING = "preparing Wine (once, some seconds) ...\n"
WAITING = "waiting until another run has prepared Wine ...\n"


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_first_and_second_run(machine):
    machine.go()
    assert ended_well(machine.start()) == PREPARING
    assert ended_well(machine.start()) == ""
    assert [line.split()[0] for line in machine.log()] == ["boot", "run",
                                                           "run"]
    assert machine.log()[1] == f"run {machine.prefix}"
    assert machine.is_clean()


def test_two_first_runs(machine):
    """The second waits and says so, also if both start at the same time."""
    first, second = machine.start(), machine.start()
    assert sorted([first.stderr.readline(), second.stderr.readline()]) == [
        PREPARING, WAITING]
    assert machine.booted()
    third = machine.start()
    assert third.stderr.readline() == WAITING
    machine.go()
    assert [ended_well(x) for x in (first, second, third)] == ["", "", ""]
    assert [x.split()[0] for x in machine.log()] == ["boot"] + 3 * ["run"]
    assert machine.is_clean()


def test_the_one_that_prepares_is_killed(machine):
    """Its lock ends with it, so the one that waits takes over."""
    first = machine.start()
    assert machine.booted()
    second = machine.start()
    assert second.stderr.readline() == WAITING
    first.kill()
    first.communicate(timeout=IO_TIMEOUT)
    assert second.stderr.readline() == PREPARING
    assert machine.booted(2)  # what the first has left is removed before that
    machine.go()
    ended_well(second)
    assert machine.is_clean()


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_an_interrupted_set_up_is_mended(machine, name):
    first = machine.start(preexec_fn=lambda: signal.signal(
        signal.SIGINT, signal.SIG_DFL))
    assert machine.booted()
    first.send_signal(getattr(signal, name))
    first.communicate(timeout=IO_TIMEOUT)
    assert not machine.prefix.exists()
    second = machine.start()
    assert second.stderr.readline() == PREPARING
    assert machine.booted(2)  # what the first has left is removed before that
    machine.go()
    assert ended_well(second) == ""
    assert machine.is_clean()


def test_half_a_prefix_is_mended(machine):
    """A prefix without the mark of a complete one is made again."""
    (machine.prefix / "drive_c").mkdir(parents=True)
    (machine.tree / "build" / "wine-old").mkdir()
    machine.go()
    assert ended_well(machine.start()) == PREPARING
    assert machine.is_clean()


# ------------------------------- the packages -------------------------------

APT = """#!/bin/sh
echo "$1" >>'{log}'
[ "$1" = install ] || exit 0
until [ -e '{go}' ]; do sleep 0.05 || exit; done
ln -s /bin/true '{tools}/wine'
"""


def test_two_that_install_at_once(tmp_path):
    """The second waits, then finds nothing missing."""
    tools, log, go = (tmp_path / name for name in ("tools", "log", "go"))
    tools.mkdir()
    for name in ("sh", "env", "flock", "ln", "mktemp", "rm", "sleep", "tail",
                 "python3"):
        (tools / name).symlink_to(shutil.which(name))
    for name, text in (
            ("apt-get", APT.format(log=log, go=go, tools=tools)),
            ("id", "#!/bin/sh\necho 0\n")):
        (tools / name).write_text(text, encoding="utf-8")
        (tools / name).chmod(0o755)
    line = ["sh", ROOT / "scripts" / "setup.sh", "wine"]
    options = {"env": {"PATH": str(tools)}, "stdin": subprocess.DEVNULL,
               "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **TEXT}
    first = start_process(line, **options)
    assert first.stdout.readline() == "installing: wine wine64\n"
    second = start_process(line, **options)
    assert second.stdout.readline().startswith("waiting until another run ")
    go.touch()
    for process in (first, second):
        assert process.communicate(timeout=IO_TIMEOUT) == ("", "")
        assert process.returncode == 0
    assert log.read_text("utf-8").splitlines() == ["update", "install"]


# ------------------------------ the environment -----------------------------

ODD = {"WINEPREFIX": "/nowhere", "WINEARCH": "win32", "WINEDEBUG": "+all",
       "WINEDLLOVERRIDES": "ws2_32=d", "WINESERVER": "/nowhere",
       "WINELOADER": "/nowhere", "WINEDLLPATH": "/nowhere",
       "WINEESYNC": "1", "WINE_RT": "15", "LC_ALL": "tr_TR.ISO-8859-9",
       "LC_CTYPE": "ja_JP.SJIS", "LC_MESSAGES": "ko_KR.eucKR", "LANG": "C",
       "LANGUAGE": "ko"}
PYTHON = {"PYTHONOPTIMIZE": "2", "PYTHONSAFEPATH": "1",
          "PYTHONWARNINGS": "error", "PYTHONUTF8": "0",
          "PYTHONCOERCECLOCALE": "0", "PYTHONDEVMODE": "1",
          "PYTHONUNBUFFERED": "1", "PYTHONLEGACYWINDOWSSTDIO": "1",
          "PYTHONPATH": "/nowhere", "PYTHONSTARTUP": "/nowhere"}
FATAL = {"PYTHONHOME": "/nowhere", "PYTHONIOENCODING": "no-such",
         "PYTHONINSPECT": "1"}


def test_what_is_set_for_wine_or_the_language(machine):
    machine.go()
    out, err = machine.start(ODD).communicate(timeout=IO_TIMEOUT)
    assert err == PREPARING
    seen = dict(line.split("=", 1) for line in out.splitlines()
                if line.startswith(("WINE", "LC_", "LANG")))
    assert seen == {"WINEPREFIX": str(machine.prefix), "WINEDEBUG": "-all",
                    "WINEDLLOVERRIDES": "mscoree,mshtml=",
                    "LC_ALL": "C.UTF-8"}


def test_the_server_with_another_wine_set():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "launch.py", PROGRAM, "--version"],
        env={**os.environ, **ODD, **PYTHON}, stdin=subprocess.DEVNULL,
        capture_output=True, timeout=START_TIMEOUT, **TEXT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("iocp_echo_server ")


@pytest.mark.parametrize("line", [
    ["scripts/demo.py", "--list"], ["scripts/bench.py", "--help"],
    ["scripts/echo_client.py", "--help"], ["scripts/trace_view.py", "--help"],
    ["scripts/parts/analyze.py", "--help"], ["tests/soak.py", "--help"]],
    ids=lambda x: x[0])
def test_what_is_set_for_python(line):
    """Scripts find their parts and print no complaint."""
    done = subprocess.run(
        [sys.executable, *line], cwd=ROOT, env={**os.environ, **PYTHON},
        stdin=subprocess.DEVNULL, capture_output=True, timeout=IO_TIMEOUT,
        **TEXT)
    assert (done.returncode, done.stderr) == (0, "")


# ------------------------------- any directory ------------------------------

def make(tree, *arguments, **env):
    """Runs a make command without building: the build is there already."""
    return subprocess.run(
        ["make", "-o", "build/iocp_echo_server.exe", "-o", "checked",
         *arguments], cwd=tree, env={**os.environ, **env},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, timeout=START_TIMEOUT, **TEXT)


@pytest.fixture(scope="module")
def korean_locale(tmp_path_factory):
    """The environment of a locale in which UTF-8 is not valid text."""
    directory = tmp_path_factory.mktemp("locale")
    if shutil.which("localedef") is None:
        pytest.skip("no localedef here")
    subprocess.run(["localedef", "-i", "ko_KR", "-f", "EUC-KR",
                    str(directory / "ko_KR.euckr")], timeout=IO_TIMEOUT,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if not (directory / "ko_KR.euckr").exists():
        pytest.skip("no sources of locales here")
    return {"LOCPATH": str(directory), "LC_ALL": "ko_KR.euckr"}


NAMES = ["with spaces", "\ud55c\uae00", "a & b", "a ^ b", "100%x%", "it's (1)",
         "$HOME `x`", os.fsdecode(b"\xc7\xd1\xb1\xdb")]


@pytest.fixture
def tree(tmp_path, request):
    """The project in a directory of this name. It uses this project's prefix,
    because making one takes a while."""
    tree = tmp_path / request.param
    shutil.copytree(ROOT / "scripts", tree / "scripts",
                    ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Makefile", tree)
    (tree / "build").mkdir()
    shutil.copy(PROGRAM, tree / "build" / "iocp_echo_server.exe")
    (tree / "build" / "wine").symlink_to(launch.PREFIX)
    return tree


# A locale only matters for bytes that are not ASCII.
@pytest.mark.parametrize("tree, locale", [
    *((name, "C.UTF-8") for name in NAMES),
    *((name, locale) for name in NAMES if not name.isascii()
      for locale in ("C", "EUC-KR"))], indirect=["tree"], ids=ascii)
def test_any_directory_in_any_locale(tree, locale, request):
    env = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    if locale == "EUC-KR":
        env.update(request.getfixturevalue("korean_locale"))
    done = make(tree, "run", "PORT=0", "ARGS=--version", **env, **FATAL)
    assert (done.returncode, done.stderr) == (0, "")
    assert "iocp_echo_server " in done.stdout
    done = make(tree, "demo", "LESSON=halfclose", **env, **FATAL)
    assert (done.returncode, done.stderr) == (0, "")
    said = ("40000바이트를 돌려받았고(보낸 것과 같습니다)"
            if locale == "EUC-KR" else "It got 40000 bytes (the same)")
    assert said in " ".join(done.stdout.split())
    assert (tree / "build" / "demo" / "halfclose.html").exists()


# -------------------------------- descriptors -------------------------------

def test_the_server_may_have_what_the_user_may(machine):
    import resource
    machine.go()
    out, _ = machine.start(preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_NOFILE, (100, 777))).communicate(timeout=IO_TIMEOUT)
    assert out.splitlines()[0] == "777"
