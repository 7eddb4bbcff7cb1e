/* listener.h - the listening socket and the addresses at its two ends. */
#ifndef LISTENER_H
#define LISTENER_H

#include "platform.h"

/*
 * Listens on the address, its port in it; port 0 lets the system choose. If
 * `any` (the address is that of all, IPv6 and IPv4) IPv4 alone will do where
 * there is no IPv6. FALSE: one line has said why, and what to do next.
 */
BOOL listener_open(const SOCKADDR_INET *address, BOOL any);

/* The address it listens on. FALSE with an error code in *code. */
BOOL listener_address(SOCKADDR_INET *address, int *code);

/*
 * Whether its clients' sockets are handles of the system itself. Where a
 * layered service provider stands in between (one without IFS handles), the
 * system may leave out a packet that the provider was to pass on: Microsoft,
 * KB 2568167. It is asked of the provider whose sockets these are. FALSE too
 * if that can't be found out.
 */
BOOL listener_has_ifs_handles(void);

/*
 * Waits for the next client, whose address goes to *clntAdr. INVALID_SOCKET
 * with an error code in *code: that of this client, or of the listener, which
 * may have been closed meanwhile. The socket is the caller's.
 */
SOCKET listener_accept(SOCKADDR_INET *clntAdr, int *code);

/* Whether there still is a socket that listens. */
BOOL listener_listens(void);

/* Closes it, which releases listener_accept. Any thread may call this, more
 * than once, also before it is open. */
void listener_close(void);

#define ADDRESS_TEXT 64  /* bytes that hold every address, and its port */

/* Writes "127.0.0.1" or "[::1]"; returns the port. An IPv4 address that a
 * dual-stack socket has wrapped, as ::ffff:127.0.0.1, is shown as IPv4. */
u_short address_text(const SOCKADDR_INET *address, char text[ADDRESS_TEXT]);

#endif
