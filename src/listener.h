/* listener.h - the listening socket. */
#pragma once

#include "platform.h"

/*
 * Listens on *address, its port in it; port 0 lets the system choose. AF_UNSPEC
 * means all addresses: IPv6 and IPv4, or IPv4 alone where there is no IPv6.
 * *address becomes the one it listens on. Returns the socket, which is the
 * caller's; or INVALID_SOCKET after one line that says why not, and what to do
 * next.
 */
SOCKET listener_open(SOCKADDR_INET *address);

/* Returns whether there still is a socket that listens. */
BOOL listener_listens(SOCKET listener);
