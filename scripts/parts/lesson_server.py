"""The server of a lesson, and what its clients do."""

import contextlib
import socket
import threading

import launch
from parts.clients import connect, receive, receive_all
from parts.language import say
from parts.server import Server, fields
from parts.words import Failure

IO_TIMEOUT = 10     # seconds, of a client: far more than any echo takes
STUCK = 0.4         # seconds: if a send waits this long, the server is stuck
LIMIT = 60          # seconds for a lesson, from the server's ready line on


def traced(name, options):
    """Returns the options of a server on this computer with a trace."""
    # A relative name, so that the directory's letters, whatever they are, need
    # not pass through a command line.
    return ["--bind", "127.0.0.1", "--trace", f"{name}.json", *options]


class LessonServer(Server):
    """The server of one lesson, and its clients. `env` is added to its
    environment."""

    def __init__(self, program, directory, name, options, **env):
        super().__init__(launch.command(program, 0, *options),
                         directory / f"{name}.log", cwd=directory)
        self.options["env"].update(env)
        self.clients, self.stopped, self.late = [], False, False
        self.timer = threading.Timer(LIMIT, self.expire)
        self.timer.daemon = True

    def perform(self, drive):
        """Starts, lets drive(self) run the clients, and stops. Returns what
        drive returned."""
        try:
            self.start()
            known = drive(self)
            self.stop()
            return known
        except (OSError, Failure) as error:
            if self.late:
                raise Failure(say({
                    "en": "not done after {seconds} seconds",
                    "ko": "{seconds}초가 지나도 끝나지 않았습니다",
                }, seconds=LIMIT)) from None
            if isinstance(error, socket.timeout):
                raise Failure(say({
                    "en": "no echo within {seconds} seconds",
                    "ko": "{seconds}초 안에 에코가 오지 않았습니다",
                }, seconds=IO_TIMEOUT)) from None
            raise
        finally:
            self.close()

    def start(self):
        super().start()
        self.timer.start()

    def expire(self):
        """Kills the server, so that no client goes on waiting."""
        self.late = True
        with contextlib.suppress(OSError):
            self.kill()

    def signal_stop(self):
        """Presses Ctrl+C once only: a second one would cut the drain short."""
        if not self.stopped:
            self.stopped = True
            super().signal_stop()

    def reported(self):
        """Returns the sum of the completions that the workers report."""
        try:
            return sum(int(fields(line)["completions"])
                       for line in self.printed("worker "))
        except (KeyError, ValueError):
            raise Failure(say({
                "en": "the server's last lines can't be read",
                "ko": "서버가 마지막에 출력한 줄을 읽을 수 없습니다",
            })) from None

    def close(self):
        """Ends everything that was started."""
        self.timer.cancel()
        for client in self.clients:
            client.close()
        self.kill()

    def connect(self, receive_buffer=None):
        self.clients.append(connect("127.0.0.1", self.port, receive_buffer,
                                    IO_TIMEOUT))
        return self.clients[-1]


def receive_whole(client, size):
    data = receive(client, size)
    if len(data) < size:
        raise Failure(say({
            "en": "the echo ended after {got} of {size} bytes",
            "ko": "에코가 {size}바이트 중 {got}바이트에서 끝났습니다",
        }, got=len(data), size=size))
    return data


def echo(client, message):
    """Sends a message. Returns whether it comes back unchanged."""
    client.sendall(message)
    return receive_whole(client, len(message)) == message


def leave(*leaving):
    """Sends end of file and waits for the server's, so that the server is
    done with them too."""
    for client in leaving:
        client.shutdown(socket.SHUT_WR)
        receive_all(client)
        client.close()


def send_until_stuck(client, most=1 << 26):
    """Sends without reading until the server's WRITE is stuck."""
    client.settimeout(STUCK)
    sent = 0
    while sent < most:
        try:
            sent += client.send(b"x" * 4096)
        except socket.timeout:
            return
    raise Failure(say({
        "en": "the server took {sent} bytes of a client that never reads",
        "ko": "서버가 읽지 않는 클라이언트에게서 {sent}바이트나 받았습니다",
    }, sent=sent))
