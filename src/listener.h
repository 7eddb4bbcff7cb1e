/* listener.h - the listening socket. */
#pragma once

#include "platform.h"

typedef struct {
    SOCKET sock;     /* main's to use                                       */
    SRWLOCK lock;    /* for what follows; nothing is printed under it       */
    BOOL open;
    int closeError;  /* of closing it                                       */
} LISTENER;

/*
 * Listens on *address, its port in it; port 0 lets the system choose. If `any` is
 * set (all addresses, IPv6 and IPv4), IPv4 alone will do where there is no IPv6.
 * *address becomes the one it listens on. Returns FALSE after one line that says
 * why not, and what to do next.
 */
BOOL listener_open(LISTENER *listener, SOCKADDR_INET *address, BOOL any);

/* Returns whether there still is a socket that listens. */
BOOL listener_listens(const LISTENER *listener);

/*
 * Waits for the next client, whose address goes to *clntAdr. Returns its socket,
 * which is the caller's; or INVALID_SOCKET with an error code in *code: about
 * this client, or about the listener, which may have been closed meanwhile.
 */
SOCKET listener_accept(const LISTENER *listener, SOCKADDR_INET *clntAdr,
                       int *code);

/*
 * Closes it, which releases listener_accept. Any thread may call this at any
 * time, more than once, also before it is open; when it returns the socket is
 * closed, whoever has done it. Returns 0, or the error code of closing it.
 */
int listener_close(LISTENER *listener);
