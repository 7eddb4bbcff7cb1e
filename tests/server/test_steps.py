"""src/steps: six small servers that echo as the large one does, and what each
of them can't do.

The tests of the echo and of hostile clients run on the steps too. The tests
here are about the steps alone, or replace tests that are not for them.
"""

import os
import re
import socket
import threading

import pytest

from parts import process_info
import support
from clients import all_kinds_at_once, offer
from kinds import NO_PEER, STEPS
from support import (IO_TIMEOUT, START_TIMEOUT, WINDOWS, Asked, Server,
                     closing_all, echo, receive, receive_all, reset,
                     run_server, wait_until)
from test_command_line import WRONG
from test_listening import one_line, speaks

ROAD = [each.program.stem for each in STEPS.values()]
STEP2, STEP3 = "step2_events", "step3_completion_routine"
MOST = STEPS["step2"].most
ACCEPTS = 16  # that step 6 has pending

# STATUS_CONTROL_C_EXIT. Wine 10 has it too, but a parent on Linux gets only
# the low byte. Wine 8 ends the process with 0.
CONTROL_C_EXIT = 0xC000013A
ENDED_BY_CTRL_C = {CONTROL_C_EXIT} if WINDOWS else {CONTROL_C_EXIT & 0xFF, 0}

pytestmark = pytest.mark.servers(*STEPS)


@pytest.fixture
def program(server_kind):
    """The path of this step."""
    return server_kind.program


@pytest.fixture
def step(server_kind):
    """The Step."""
    return server_kind


# ------------------------------ what they print -----------------------------

def test_events(server):
    with server.connect() as client:
        peer = "peer=127.0.0.1:%d" % client.getsockname()[1]
        assert echo(client, b"hello") == b"hello"
    server.wait_for("^close ")
    assert server.lines == [f"ready port={server.port} address=0.0.0.0",
                            f"accept code=0 {peer}", f"close code=0 {peer}"]


@pytest.mark.parametrize("arguments", [
    *(x for x, _ in WRONG.values()), ["--help"], ["--version"],
    ["0", "--verbose"], ["0", "--max-connections=1"], ["0", "-i", "1"]],
    ids=lambda arguments: ascii(" ".join(arguments))[:30])
def test_port_and_nothing_else(program, arguments):
    """A step takes no option of the large server, and refuses the same
    ports."""
    line = one_line(run_server(*arguments, program=program), 2, program.stem)
    assert line == (f"{program.stem}: usage: {program.stem} PORT (0 to 65535)")


def test_port_is_taken(program, server):
    line = one_line(run_server(server.port, program=program), 1, program.stem)
    assert re.fullmatch(rf"{program.stem}: bind failed: code (10048|10013)",
                        line)
    server.check_serves()


# ------------------------------ what they can do ----------------------------

def test_resets(server):
    """The chapter ignores the result of GetQueuedCompletionStatus."""
    with server.connect() as bystander, closing_all() as clients:
        assert echo(bystander, b"before") == b"before"
        for _ in range(25):
            clients.append(server.connect(receive_buffer=4096))
        for client in clients[:5]:
            assert echo(client, b"hello") == b"hello"
        # When the others are stuck in a WRITE, these five have a READ
        # pending.
        offer(server, clients[5:])
        for client in clients:
            reset(client)
        server.wait_for(r"^failed code=[1-9]\d* ", count=25)
        assert echo(bystander, b"after") == b"after"
        server.check_serves()


def test_clients_that_leave_at_once(server):
    for _ in range(500):
        server.connect().close()
    server.check_serves()


@pytest.mark.alone  # under Wine all programs' sockets are the Wine server's
def test_no_handle_is_left_behind(server):
    pid = server.process.pid

    def storm(rounds):
        for _ in range(rounds):
            server.check_serves()
    storm(50)
    before = process_info.handles(pid)
    storm(300)
    assert wait_until(lambda: process_info.handles(pid) <= before + 8), (
        before, process_info.handles(pid))


def test_all_kinds_at_once(server):
    all_kinds_at_once(server, 8)


@pytest.mark.skipif(WINDOWS, reason="reads Wine's trace of the calls")
def test_backlog(program):
    """SOMAXCONN_HINT(65535): SOMAXCONN means some 200 on Windows, which resets
    the clients beyond that."""
    server = Server(program=program, env={"WINEDEBUG": "+winsock"})
    server.kill()
    assert re.search(r"listen .*backlog -65535", "\n".join(server.errors))


@pytest.mark.skipif(WINDOWS, reason="Windows adds threads of its own")
def test_threads(server, program):
    """Main's, and one for each client, none, or one for each CPU (at most 64:
    GetSystemInfo counts one group)."""
    with closing_all() as clients:
        for _ in range(10):
            clients.append(server.connect())
            assert echo(clients[-1], b"x") == b"x"
        more = {"step1_threads": 10, STEP2: 0, STEP3: 0}.get(
            program.stem, min(os.cpu_count(), 64))
        assert process_info.threads(server.process.pid) == 1 + more


# ----------------------------- what they can't do ---------------------------

def test_ipv4_alone(server):
    assert server.ready["address"] == "0.0.0.0"
    assert speaks("127.0.0.1", server.port)
    assert not speaks("::1", server.port)


def test_silent_clients(server, program, step):
    """Step 3 accepts one client, then sleeps 100 ms if it has nothing to do:
    three hundred clients would take longer than IO_TIMEOUT. The others wait
    for nothing but clients. Step 6 has fewer accepts pending than clients
    that are silent here."""
    with closing_all() as clients:
        for _ in range(50 if program.stem == STEP3 else step.most or 300):
            clients.append(server.connect())
        if program.stem == STEP3:
            clients[-1].settimeout(0.5)
            with pytest.raises(socket.timeout):
                echo(clients[-1], b"my turn?")
            clients[-1].settimeout(IO_TIMEOUT)
            assert receive(clients[-1], 8) == b"my turn?"
        else:
            assert echo(clients[-1], b"my turn?") == b"my turn?"


@pytest.mark.not_for(*(set(STEPS) - {"step2"}), because="they have no limit")
def test_64_events(server):
    """Step 2 serves 63 clients and refuses the next, in one line each; when
    one has left there is room for another."""
    with closing_all() as clients:
        for _ in range(MOST):
            clients.append(server.connect())
            assert echo(clients[-1], b"in") == b"in"
        for count in (1, 2):
            with server.connect() as one_more:
                peer = "peer=127.0.0.1:%d" % one_more.getsockname()[1]
                assert one_more.recv(1) == b""
                assert server.wait_for("^refused ", count=count) == (
                    f"refused events=64 code=0 {peer}")
        for client in clients:
            assert echo(client, b"still here") == b"still here"
        # The first, the last: each moves another client.
        for number in (0, MOST // 2, -1):
            clients[number].close()
            server.wait_for("^close ")
            wait_until(lambda: len(server.matching("^close ")) == 3
                       - (0, MOST // 2, -1)[::-1].index(number))
            clients[number] = server.connect()
            for client in clients:
                assert echo(client, b"moved") == b"moved"
    assert len(server.matching("^refused ")) == 2
    assert server.errors == []


def test_a_stream_without_a_pause(server, program):
    """Under Wine SleepEx calls routines until none is left, so step 3 accepts
    nobody while one client keeps it busy. On Windows this is not known."""
    enough = threading.Event()

    def stream():
        with server.connect() as client:
            def send():
                while not enough.is_set():
                    client.sendall(bytes(65536))
                client.shutdown(socket.SHUT_WR)
            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            client.recv(1)
            started.set()
            receive_all(client)
            sender.join(IO_TIMEOUT)

    def held_up(timeout):
        with server.connect(timeout=timeout) as client:
            try:
                assert echo(client, b"hello") == b"hello"
            except socket.timeout:
                return True
        return False
    started = threading.Event()
    streaming = threading.Thread(target=stream, daemon=True)
    streaming.start()
    try:
        assert started.wait(IO_TIMEOUT)
        if program.stem == STEP3 and not WINDOWS:
            # On a busy machine the stream may pause now and then.
            assert any(held_up(2) for _ in range(5))
        else:
            assert not held_up(IO_TIMEOUT)
    finally:
        enough.set()
        streaming.join(IO_TIMEOUT)
    assert not streaming.is_alive()
    server.check_serves()


@pytest.mark.not_for("step5", "step6", because="they have an end")
def test_ctrl_c_loses_bytes(program):
    """A step does not stop in order: Windows ends it, and bytes that it has
    still to echo are lost."""
    server = Server(program=program)
    with server.connect(receive_buffer=4096) as client:
        (taken,) = offer(server, [client])
        client.settimeout(IO_TIMEOUT)
        server.signal_stop()
        assert server.wait_end(START_TIMEOUT) in ENDED_BY_CTRL_C
        received = 0
        try:
            while part := client.recv(1 << 20):
                received += len(part)
        except ConnectionError:
            pass  # the process has ended, which resets the connection
    assert received < taken
    assert server.matching("^(stopping|worker|stopped|close|failed) ") == []
    assert server.errors == []


# --------------------------------- their end --------------------------------

an_end = pytest.mark.not_for("step1", "step2", "step3", "step4",
                             because="Ctrl+C ends them at once")


def refuses(server):
    """Whether a new client is turned away. Wine closes a listening socket in
    its server, soon after the program has."""
    try:
        server.connect().close()
    except OSError:
        return True
    return False


def check_stopped(server):
    """It ends well, and with it the accepts that step 6 has pending."""
    assert server.wait_end(START_TIMEOUT) == 0
    assert server.lines[-1] == "stopped" and server.errors == []
    ended = [x for x in server.matching("^failed ") if NO_PEER in x]
    step6 = any("step6" in x for x in server.line)
    assert len(ended) == (ACCEPTS if step6 else 0)


@an_end
def test_ctrl_c_without_a_client(program):
    server = Server(program=program)
    server.check_serves()
    server.signal_stop()
    check_stopped(server)


@an_end
def test_ctrl_c_in_the_beginning(program):
    """Before it waits for the first client, perhaps."""
    for _ in range(5):
        server = Server(program=program)
        server.signal_stop()
        assert server.wait_end(START_TIMEOUT) == 0
        assert server.lines[-1] == "stopped"


@an_end
def test_ctrl_c_lets_clients_finish(program):
    """Nothing that was received is lost, no client comes in, and those that
    are here are served until they leave."""
    server = Server(program=program)
    with server.connect(receive_buffer=4096) as stuck, \
            server.connect() as silent:
        assert echo(silent, b"before") == b"before"
        (taken,) = offer(server, [stuck])
        server.signal_stop()
        server.wait_for("^stopping$")
        assert wait_until(lambda: refuses(server))
        assert echo(silent, b"after") == b"after"
        stuck.settimeout(IO_TIMEOUT)
        stuck.shutdown(socket.SHUT_WR)
        assert receive_all(stuck) == b"\xa5" * taken
        assert server.alive()
    check_stopped(server)
    assert len(server.matching("^close ")) == 2


@an_end
def test_ctrl_c_among_resets(program):
    """Each operation that fails, and each post, is accounted for: the end
    comes."""
    server = Server(program=program)
    with closing_all() as clients:
        for _ in range(60):
            clients.append(server.connect(receive_buffer=4096))
        offer(server, clients[:20])
        for client in clients[20:40]:
            client.sendall(b"x")
        server.signal_stop()
        server.wait_for("^stopping$")
        for client in clients[:50]:
            reset(client)
    check_stopped(server)
    accepted = [x for x in server.matching("^accept ")]
    ended = [x for x in server.matching("^(close|failed) ")
             if NO_PEER not in x]
    assert len(accepted) == len(ended) >= 20


@an_end
def test_a_second_ctrl_c_ends_it_at_once(program):
    server = Server(program=program)
    with server.connect() as client:
        assert echo(client, b"hello") == b"hello"
        server.signal_stop()
        server.wait_for("^stopping$")
        server.signal_stop()
        assert server.wait_end(START_TIMEOUT) in ENDED_BY_CTRL_C
    assert server.matching("^stopped$") == []


def build_checked(directory, name, changes=()):
    """Returns a step that records its calls (ASKED) and has calls fail
    (FAULTS), with changes in its text: pairs of old and new."""
    sources = directory / "steps"
    sources.mkdir()
    text = (support.ROOT / "src/steps" / f"{name}.c").read_text("ascii")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (sources / f"{name}.c").write_text(text, encoding="ascii")
    checked = support.ROOT / "tests" / "checked"
    return support.build(directory, f"{name}.exe", "-DWIN32_LEAN_AND_MEAN",
                         sources=sources, forced=checked / "checked.h",
                         extra=sorted(checked.glob("*.c")))


def check_order_of_the_end(program, asked):
    """The last client is closed before the first sentinel is posted, and main
    waits for the threads after that."""
    server = Server(program=program, env=asked.env)
    with closing_all() as clients:
        for _ in range(5):
            clients.append(server.connect())
            assert echo(clients[-1], b"x") == b"x"
        server.signal_stop()
        server.wait_for("^stopping$")
    check_stopped(server)
    names = [name for name, _ in asked.calls(
        "closesocket", "PostQueuedCompletionStatus", "WaitForMultipleObjects")]
    threads = min(os.cpu_count(), 64)
    step6 = "step6" in program.stem
    assert names == (["closesocket"] * (6 + (ACCEPTS if step6 else 0))
                     + ["PostQueuedCompletionStatus"] * threads
                     + ["WaitForMultipleObjects"])


@pytest.mark.own_build
@pytest.mark.parametrize("name", ROAD[4:])
def test_the_order_of_the_end(tmp_path, name):
    asked = Asked(tmp_path / "asked")
    check_order_of_the_end(build_checked(tmp_path, name), asked)


@pytest.mark.own_build
@pytest.mark.parametrize("name", ROAD[4:])
def test_too_early_a_sentinel_is_noticed(tmp_path, name):
    program = build_checked(tmp_path, name, [
        ("    while (clients != 0)\n        Sleep(10);\n", "")])
    with pytest.raises(AssertionError):
        check_order_of_the_end(program, Asked(tmp_path / "asked"))


@pytest.mark.own_build
@pytest.mark.parametrize("name", ROAD[4:])
def test_posts_that_fail(tmp_path, name):
    """Each ends its client, and no other; none is missing at the end."""
    server = Server(program=build_checked(tmp_path, name), env={
        "FAULTS": "WSARecv:/3:10055,WSASend:/5:10055"})
    served = 0
    for _ in range(60):
        with server.connect() as client:
            try:
                served += echo(client, b"hello") == b"hello"
            except (ConnectionError, AssertionError):
                pass  # it was closed
    server.wait_for("^(close|failed) ", count=60)
    assert 0 < len(server.matching("^failed code=10055 ")) <= 60
    assert served > 10
    server.signal_stop()
    check_stopped(server)


@pytest.mark.own_build
@pytest.mark.parametrize("name", ROAD[4:])
def test_a_sentinel_that_can_not_be_posted(tmp_path, name):
    server = Server(program=build_checked(tmp_path, name), env={
        "FAULTS": "PostQueuedCompletionStatus:1:8"})
    server.signal_stop()
    assert server.wait_end(START_TIMEOUT) == 1
    assert support.without_wines(server.errors) == [
        f"{name}: PostQueuedCompletionStatus failed: code 8"]


@pytest.mark.own_build
def test_accepts_that_fail_at_once(tmp_path):
    """Each third AcceptEx does. Main posts another, and no client notices."""
    server = Server(program=build_checked(tmp_path, ROAD[5], [
        ("static HANDLE hComPort;\n", "static HANDLE hComPort;\n"
         "static LONG calls;\n"),
        ("= !lpfnAcceptEx(", "= (++calls % 3 == 0 && "
         "(SetLastError(10055), TRUE)) || !lpfnAcceptEx(")]))
    for _ in range(100):
        server.check_serves()
    server.signal_stop()
    assert server.wait_end(START_TIMEOUT) == 0
    assert server.lines[-1] == "stopped" and server.errors == []
    assert len(server.matching(f"^failed code=10055 {NO_PEER}$")) > 50


@pytest.mark.own_build
def test_step_6_posts_after_the_close(tmp_path):
    """A thread posts an ACCEPT when the listening socket is closed. Its number
    may be the new socket's: nothing is pending on that, so the end comes."""
    server = Server(program=build_checked(tmp_path, ROAD[5], [
        ("    PostAccept();\n    PrintClient(",
         "    puts(\"taken\");\n    fflush(stdout);\n"
         "    while (!stopping) Sleep(1);\n    Sleep(500);\n"
         "    PostAccept();\n    PrintClient(")]))
    with server.connect() as client:
        server.wait_for("^taken$")
        server.signal_stop()
        server.wait_for("^stopping$")
        assert echo(client, b"hello") == b"hello"
    check_stopped(server)
    assert len(server.matching(f"^failed code=10038 {NO_PEER}$")) == 1


@pytest.mark.own_build
def test_step_6_without_descriptors(tmp_path):
    """The first WSASocket is the listening socket's. Of the accepts only some
    can be posted, later none; main posts what is missing when it can."""
    program = build_checked(tmp_path, ROAD[5])
    server = Server(program=program, env={"FAULTS": (
        "WSASocketW:4-40:10024,setsockopt:4:10022")})
    failed = rf"^failed code=10024 {NO_PEER}$"
    server.wait_for(failed, count=37)
    # Two accepts were pending meanwhile, and then the others are again.
    with closing_all() as clients:
        for _ in range(2 * ACCEPTS):
            clients.append(server.connect())
            try:
                assert echo(clients[-1], b"x") == b"x"
            except (ConnectionError, AssertionError):
                server.wait_for("^failed code=10022 ")
    server.signal_stop()
    assert server.wait_end(START_TIMEOUT) == 0
    assert len(server.matching(failed)) == 37
    assert len(server.matching("^failed code=10022 ")) == 1
    assert server.lines[-1] == "stopped"
