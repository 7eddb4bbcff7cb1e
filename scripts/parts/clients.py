"""Clients of an echo server: what is the same wherever one is needed."""

import errno

# What connect says when every local port is in use: on Linux, on Windows.
NO_PORT = {getattr(errno, name) for name in (
    "EADDRNOTAVAIL", "EADDRINUSE", "WSAEADDRNOTAVAIL", "WSAEADDRINUSE",
    "WSAENOBUFS") if hasattr(errno, name)}
NO_PORT_LEFT = ("no local port is free: use fewer connections, or wait some "
                "minutes until those of closed ones are free (TIME_WAIT)")
