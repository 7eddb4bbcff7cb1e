/* listener.h - the listening socket. */
#pragma once

#include "platform.h"

/*
 * Listens on *address, which includes the port; with port 0 the system chooses.
 * AF_UNSPEC means all addresses: IPv6 and IPv4, or IPv4 alone where there is no
 * IPv6. Stores the address and port that it got in *address. Returns the
 * socket, which is the caller's; or INVALID_SOCKET after one line that says why
 * not, and what to do next.
 */
SOCKET listener_open(SOCKADDR_INET *address);

/* Returns whether it is still a socket that listens. */
BOOL listener_listens(SOCKET listener);
