"""Scripts that start a server, with servers that misbehave. Each script says
so in one line and ends in time, with a status other than 0."""

import os
import re
import shutil
import stat
import subprocess
import sys

import pytest

import launch
import trace_view
from parts import lesson_server
from parts.lessons import TRACED
from parts.words import Failure
from support import ROOT, TEXT, WINDOWS
from test_demo import demo

on_linux = pytest.mark.skipif(WINDOWS, reason="Wine is what fails here")

FAKE = r"""
#include <winsock2.h>
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void say(const char *text)
{
    fputs(text, stdout);
    fflush(stdout);
}

/* The ready line, and a listener that is true to it. */
static SOCKET ready(void)
{
    struct sockaddr_in address = {0};
    int size = sizeof address;
    SOCKET sock = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(sock, (struct sockaddr *)&address, size);
    listen(sock, 5);
    getsockname(sock, (struct sockaddr *)&address, &size);
    printf("ready port=%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return sock;
}

static void echo(SOCKET listener)
{
    char buffer[4096];
    SOCKET sock = accept(listener, NULL, NULL);
    int size;

    while ((size = recv(sock, buffer, sizeof buffer, 0)) > 0)
        send(sock, buffer, size, 0);
    closesocket(sock);
}

/* Ctrl+C. */
static BOOL WINAPI leave(DWORD event)
{
    (void)event;
    say("worker id=1 completions=many\n");
    ExitProcess(0);
}

static BOOL WINAPI leave_quietly(DWORD event)
{
    (void)event;
    ExitProcess(0);
}

int main(void)
{
    const char *what = getenv("FAKE");
    WSADATA data;
    int i;

    WSAStartup(MAKEWORD(2, 2), &data);
    SetConsoleCtrlHandler(NULL, FALSE);
    if (strcmp(what, "dies") == 0)
        return 3;
    if (strcmp(what, "complains") == 0) {
        say("one line\nno luck today\n");
        return 1;
    }
    if (strcmp(what, "crashes") == 0)
        *(volatile int *)8 = 0;
    if (strcmp(what, "garbage") == 0)
        for (i = 0; i < 3000; ++i)
            putchar(i % 256);
    if (strcmp(what, "garbage") == 0)
        return 0;
    while (strcmp(what, "floods") == 0)
        say("all work and no play\n");
    if (strcmp(what, "no port") == 0)
        say("ready at=last\n");
    if (strcmp(what, "odd port") == 0)
        say("ready port=99999999999\n");
    if (strcmp(what, "silent listener") == 0)
        ready();
    if (strcmp(what, "nobody listens") == 0)
        say("ready port=1\n");
    if (strcmp(what, "ready and gone") == 0) {
        ready();
        return 0;
    }
    if (strcmp(what, "odd report") == 0) {
        SetConsoleCtrlHandler(leave, TRUE);
        echo(ready());
    }
    if (strcmp(what, "no trace") == 0) {
        SetConsoleCtrlHandler(leave_quietly, TRUE);
        echo(ready());
    }
    if (strcmp(what, "stays") == 0) {
        SetConsoleCtrlHandler(NULL, TRUE);
        echo(ready());
    }
    Sleep(INFINITE);
    return 0;
}
"""

# What the demonstration says about each; "" for one that never gets ready.
SERVERS = {
    "dies": "did not start: no message, exit status 3",
    "complains": "did not start: no luck today",
    "crashes": "did not start: ",
    "garbage": "did not start: ",
    "hangs": "not ready after 2 seconds",
    "floods": "prints on and on",
    "no port": "no port in the ready line: ready at=last",
    "odd port": "no port in the ready line: ready port=99999999999",
    "nobody listens": "refused",
    "silent listener": "no echo within 1 seconds",
    "ready and gone": "",
    "odd report": "last lines can't be read",
    "no trace": "cycle.json",
    "stays": "still runs 2 seconds after Ctrl+C",
}


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    """A server that does what the variable FAKE says."""
    compiler = shutil.which("x86_64-w64-mingw32-gcc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("builds a program of its own, with gcc")
    directory = tmp_path_factory.mktemp("fake")
    (directory / "fake.c").write_text(FAKE, encoding="ascii")
    subprocess.run([compiler, "-o", str(directory / "fake.exe"),
                    str(directory / "fake.c"), "-lws2_32"], check=True,
                   timeout=60)
    return directory / "fake.exe"


@pytest.mark.parametrize("what", SERVERS)
def test_demo(fake, tmp_path, monkeypatch, capfd, what):
    monkeypatch.setenv("FAKE", what)
    monkeypatch.setattr(lesson_server.LessonServer, "start_timeout",
                        2 if what == "hangs" else 20)
    monkeypatch.setattr(lesson_server.LessonServer, "stop_timeout", 2)
    monkeypatch.setattr(lesson_server, "IO_TIMEOUT", 1)
    assert demo.main(["cycle", "-o", str(tmp_path), "--server",
                      str(fake)]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch("demo.py: [ -~]{,1500}\n", err), err
    assert SERVERS[what] in err, err


@pytest.mark.parametrize("lesson", TRACED)
@pytest.mark.parametrize("packets", [0, 1])
def test_a_trace_without_what_the_lesson_is_about(lesson, packets):
    """The lesson says so in one line, or shows zeros."""
    model = trace_view.make_model([
        {"ph": "M", "name": "trace_info", "args": {"workers": 4}},
        *packets * [{"ph": "B", "cat": "packet", "name": "READ", "ts": 5,
                     "tid": 1, "args": {"conn": 1}},
                    {"ph": "E", "cat": "packet", "ts": 6, "tid": 1}]], {})
    clients = dict.fromkeys(["clients", "sent", "got", "same", "right"], 0)
    try:
        said = TRACED[lesson]().observed(model, clients)
        assert list(said) == ["en", "ko"]
    except Failure as error:
        assert "trace" in str(error) or "no operation" in str(error)


@pytest.mark.parametrize("what, status, said", [
    ("dies", 3, ""), ("complains", 1, "one line\nno luck today\n"),
    ("garbage", 0, None)])
def test_launch_leaves_the_word_to_the_server(fake, what, status, said):
    """launch.py passes on the server's status and output, and adds nothing."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "launch.py"), str(fake), "0"],
        env={**os.environ, "FAKE": what}, stdin=subprocess.DEVNULL,
        capture_output=True, timeout=30, **TEXT)
    assert (result.returncode, result.stderr) == (status, "")
    assert said in (None, result.stdout)


# ------------------------------ before the server ---------------------------


@pytest.mark.parametrize("script", ["launch.py", "demo.py"])
@pytest.mark.parametrize("name, content, said", [
    ("none.exe", None, "is not there"),
    ("text.exe", b"not a program\n", "is not a Windows program"),
    ("empty.exe", b"", "is not a Windows program"),
    ("\u9999\u6e2f.exe", None, "\u9999\u6e2f.exe' is not there"),
    (".", None, "is not there")], ids=ascii)
def test_no_program(tmp_path, script, name, content, said):
    program = tmp_path / name
    if content is not None:
        program.write_bytes(content)
    line = [program, 0] if script == "launch.py" else [
        "cycle", "-o", tmp_path, "--server", program]
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *map(str, line)],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=30, **TEXT)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(script + ": ")
    assert result.stderr.count("\n") == 1 and said in result.stderr


@pytest.fixture
def wine(tmp_path, monkeypatch):
    """wine(times): Wine gives up `times` times before it runs the program.
    Returns a function that counts how often Wine was started."""
    tries = tmp_path / "tries"
    tries.write_text("", encoding="ascii")

    def fail_at_first(times):
        script = tmp_path / "bin" / "wine"
        script.parent.mkdir()
        script.write_text(
            f"#!/bin/sh\necho x >>'{tries}'\n"
            f"[ $(wc -l <'{tries}') -gt {times} ] || exit 1\n"
            f"exec '{shutil.which('wine')}' \"$@\"\n", encoding="utf-8")
        script.chmod(stat.S_IRWXU)
        monkeypatch.setenv("PATH", os.pathsep.join(
            [str(script.parent), os.environ["PATH"]]))
        return lambda: len(tries.read_text(encoding="ascii").splitlines())
    return fail_at_first


@on_linux
def test_demo_starts_again_what_wine_has_not_started(wine, tmp_path, capfd):
    count = wine(launch.START_TRIES - 1)
    assert demo.main(["posted", "-o", str(tmp_path)]) == 0
    assert count() == launch.START_TRIES
    assert capfd.readouterr().err == ""


@on_linux
def test_demo_does_not_try_for_ever(wine, tmp_path, capfd):
    count = wine(100)
    assert demo.main(["posted", "-o", str(tmp_path)]) == 1
    assert count() == launch.START_TRIES
    assert capfd.readouterr().err == (
        "demo.py: the server did not start: no message, exit status 1\n")


def test_only_wine_and_only_without_a_word():
    assert launch.never_started(1, "") is not WINDOWS
    for status, output in ((1, "x"), (0, ""), (2, ""), (53, ""), (None, "")):
        assert not launch.never_started(status, output)
