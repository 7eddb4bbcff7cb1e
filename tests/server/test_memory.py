"""Memory and races: the server in a build that does not forgive.

With GUARD every block has pages of its own and is never used again, so a use
after free or an overrun ends the process at once; blocks and handles are
counted, and closing one that is not open ends it, too. With DELAYS threads
wait wherever a connection changes hands. See tests/checked/checked.h. And the
proof that it works: servers broken on purpose are caught.
"""

import functools
import shutil
import threading

import pytest

from clients import Load, offer
from support import (BUF_SIZE, CHECKED, HEAP_MESSAGES, PROGRAM, WINDOWS,
                     Server, build_broken, check_nothing_left, closing_all,
                     connect, echo, exchange, heap_flags, receive, reset,
                     together, wait_until, windows_path)

if WINDOWS and not CHECKED.exists():
    pytest.skip("GNU make builds the checked server: make checked",
                allow_module_level=True)
pytestmark = pytest.mark.own_build


@pytest.fixture
def guarded(tmp_path):
    """guarded(*arguments): a checked server, and its report when it ended,
    which says that no block and no handle is left."""
    report = tmp_path / "guard.txt"

    def start(*arguments, program=CHECKED, delays=None):
        env = {"GUARD": windows_path(report)}
        if delays is not None:
            env["DELAYS"] = str(delays)
        server = Server(*arguments, program=program, env=env)
        server.report = lambda: check_nothing_left(
            report.read_text(encoding="ascii"))
        return server
    return start


def all_kinds_of_clients(server):
    """A little of everything, with some of it still going on at the end."""
    data = bytes(range(256)) * 2000
    for _ in range(5):
        server.check_serves()
        with server.connect() as client:
            assert exchange(client, data) == data
        client = server.connect()
        client.sendall(data[:50_000])
        reset(client)
        server.connect().close()


@pytest.mark.parametrize("arguments", [
    ["--buffer", BUF_SIZE], [], ["--zero-byte-recv"],
    ["--zero-byte-recv", "--batch", 64, "--inline", 3]])
def test_every_block_is_freed(guarded, arguments):
    server = guarded("--workers", 4, "--drain-timeout", 1, *arguments)
    all_kinds_of_clients(server)
    with closing_all() as clients:
        for _ in range(10):
            clients.append(server.connect(receive_buffer=4096))
        offer(server, clients[:3])  # cancelled in the middle of a WRITE
        totals = server.stop()
    report = server.report()
    # One block a connection, and its buffers.
    if arguments == ["--buffer", BUF_SIZE]:
        assert report["allocated"] == 2 * totals["connections"]
    else:
        assert report["allocated"] > totals["connections"] + 1


@pytest.mark.parametrize("round", range(10))
def test_stop_under_load_with_delays(guarded, round):
    """Ten of them here; `make soak` does more."""
    mode = [[], ["--batch", 64], ["--inline", 2], ["--zero-byte-recv"],
            ["--batch", 64, "--inline", 7, "--zero-byte-recv"]][round % 5]
    server = guarded("--workers", 1 + round % 4, *mode, delays=round + 1)

    def ping_pong(again):
        with connect(server.host, server.port) as client:
            while again():
                size = 1 + round * 1000
                if echo(client, b"p" * size) != b"p" * size:
                    break

    def come_and_go(again):
        while again():
            with connect(server.host, server.port) as client:
                echo(client, b"x")
    loads = [Load(server, 4, ping_pong), Load(server, 4, come_and_go)]
    totals = server.stop()
    for load in loads:
        load.end()
    assert totals["received"] == totals["sent"]
    server.report()


def test_idle_sweep_with_delays(guarded):
    """The sweep and the clients' next messages meet at the time limit."""
    server = guarded("--workers", 4, "--idle-timeout", 1, delays=5)

    def slow(pause):
        """Sends at about the pace of the idle timeout: served, or closed."""
        waiting = threading.Event()
        try:
            for _ in range(3):
                with server.connect() as client:
                    if echo(client, b"tick") == b"tick":
                        waiting.wait(pause)
                        client.sendall(b"tock")
                        receive(client, 4)
        except ConnectionError:
            pass  # closed in this very moment
    with together([functools.partial(slow, 0.95 + 0.01 * i)
                   for i in range(40)]):
        pass
    server.stop()
    server.report()


# ------------------------- servers broken on purpose ------------------------

ECHO = "        connection_write(handleInfo, buffer->data, length);\n"
CLOSE = ("    log_unless(closesocket(handleInfo->hClntSock) == 0, "
         '"closesocket");\n')

BROKEN = {
    # the file, what is changed into what, the server's arguments
    "touched after the post": (
        "worker.c", ECHO,
        "    {\n" + ECHO + "        handleInfo->sent = 0;\n    }\n"),
    "touched after the close": (
        "connection.c", "    free(handleInfo);\n",
        "    free(handleInfo);\n    handleInfo->id = 0;\n"),
    "freed twice": (
        "connection.c", "    free(handleInfo);\n",
        "    free(handleInfo);\n    free(handleInfo);\n"),
    "one byte too many": (
        "worker.c",
        "    handleInfo->received += bytes;\n",
        "    handleInfo->received += bytes;\n"
        "    handleInfo->buffer.data[handleInfo->buffer.size] = 0;\n"),
    "not freed": ("connection.c", "    free(handleInfo);\n", ""),
    "not given back": (
        "connection.c",
        "    buffer_return(&handleInfo->server->buffers, "
        "&handleInfo->buffer);\n"
        "    free(handleInfo);", "    free(handleInfo);", "--zero-byte-recv"),
    "not closed": ("connection.c", CLOSE, ""),
    "closed twice": ("connection.c", CLOSE, CLOSE + CLOSE),
    "half a pointer as key": (  # the chapter's (DWORD) cast
        "connection.c", "(ULONG_PTR)handleInfo, 0)",
        "(DWORD)(ULONG_PTR)handleInfo, 0)"),
    "freed while the kernel owns it": (
        "worker.c", ECHO, "    {\n" + ECHO
        + "        connection_read(handleInfo, FALSE);\n    }\n"),
    "done at once, and a packet all the same": (
        "batch.c", " FILE_SKIP_COMPLETION_PORT_ON_SUCCESS)", " 0)",
        "--inline", 4),
    "queued, and handled all the same": (
        "batch.c", "            continue;  /*", "            (void)0;  /*",
        "--inline", 1),
}


def crashed(server):
    """Whether it did: Wine says so, and may then wait for ever for a lock that
    the thread held."""
    return not server.alive() or "Unhandled" in server.text()


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_broken_server_is_caught(guarded, tmp_path, mistake):
    source, old, new, *arguments = BROKEN[mistake]
    program = build_broken(tmp_path, source, old, new)
    server = guarded("--workers", 4, *arguments, program=program, delays=1)
    for _ in range(200):
        try:
            # Not for long: Wine may keep a socket of a process that is gone.
            with server.connect(timeout=2) as client:
                client.sendall(b"hello")
                client.shutdown(1)
                receive(client, 5)
        except OSError:
            pass
        if crashed(server):
            break
    if mistake.startswith("not "):
        server.stop()
        with pytest.raises(AssertionError, match="allocated"):
            server.report()
    else:
        # What Windows' status for an access violation becomes under Wine is
        # not always the same; that the server did not end by itself is.
        assert wait_until(lambda: crashed(server)), f"{mistake}: not noticed"
        server.kill()
        assert not server.matching("^stopp")


@pytest.mark.skipif(WINDOWS, reason="Wine's heap")
@pytest.mark.parametrize("mistake", ["one byte too many", "freed twice"])
def test_wine_checks_the_heap(tmp_path, mistake):
    """What the other half of `make test-guarded` rests on: a usual build, but
    broken, is caught, and a sound one is not."""
    name = f"{tmp_path.name}.exe"  # no other program has it
    program = build_broken(tmp_path, *BROKEN[mistake], plain=name)
    (tmp_path / "sound").mkdir()
    sound = shutil.copy(PROGRAM, tmp_path / "sound" / name)
    with heap_flags(name):
        env = {"WINEDEBUG": HEAP_MESSAGES}
        server = Server(program=program, env=env)
        sound = Server(program=sound, env=env)
        for each in (server, sound):
            each.check_serves()
            each.signal_stop()
        with pytest.raises(AssertionError, match=":heap:"):
            server.wait_end()
        assert sound.wait_end() == 0 and sound.errors == []
