"""What all clients of an echo server share: connect, receive, echo, reset."""

import contextlib
import errno
import os
import random
import socket
import struct

WINDOWS = os.name == "nt"
IO_TIMEOUT = 20  # seconds: far more than any echo takes

# What connect says when every local port is in use: on Linux, on Windows.
NO_PORT = {getattr(errno, name) for name in (
    "EADDRNOTAVAIL", "EADDRINUSE", "WSAEADDRNOTAVAIL", "WSAEADDRINUSE",
    "WSAENOBUFS") if hasattr(errno, name)}
NO_PORT_LEFT = {
    "en": "no local port is free: use fewer connections, or wait some minutes "
          "until those of closed ones are free (TIME_WAIT)",
    "ko": "남은 로컬 포트가 없습니다. 연결 수를 줄이거나, 닫힌 연결의 포트를 "
          "다시 쓸 수 있을 때까지 몇 분 기다리십시오(TIME_WAIT)"}


def free_port():
    """Returns a free port below 32768: above it systems pick ports for
    clients, and for servers that ask for port 0."""
    while True:
        port = random.SystemRandom().randrange(16384, 32768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def connect(host, port, receive_buffer=None, timeout=IO_TIMEOUT):
    """Connects. A small `receive_buffer`, in bytes, keeps the system from
    holding much that the client does not read. The send buffer is larger than
    one segment: otherwise each send waits 40 ms for an acknowledgement."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    client = socket.socket(family, socket.SOCK_STREAM)
    try:
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                              receive_buffer)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        client.settimeout(timeout)
        client.connect((host, port))
    except BaseException:
        client.close()
        raise
    return client


def receive(client, size):
    """Returns `size` bytes, or fewer if the end of file comes first."""
    data = bytearray()
    while len(data) < size:
        part = client.recv(min(size - len(data), 1 << 20))
        if not part:
            break
        data += part
    return bytes(data)


def receive_all(client):
    """Returns everything up to the end of file."""
    data = bytearray()
    while True:
        part = client.recv(1 << 20)
        if not part:
            return bytes(data)
        data += part


def echo(client, message):
    """Sends the message, then receives as much. It must fit the socket
    buffers."""
    client.sendall(message)
    return receive(client, len(message))


def reset(client):
    """Closes with a reset instead of an end of file."""
    # struct linger: two ints on POSIX, two shorts on Windows.
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                      struct.pack("hh" if WINDOWS else "ii", 1, 0))
    client.close()
