/* address.h - IPv4 and IPv6 addresses. */
#pragma once

#include "platform.h"

#define ADDRESS_TEXT 64  /* bytes that hold every address as text */

/* Returns how many bytes of the union this address takes: bind wants to know. */
socklen_t address_size(const SOCKADDR_INET *address);

/* Writes "127.0.0.1" or "[::1]"; returns the port. An IPv4 address that a
 * dual-stack socket has wrapped, as ::ffff:127.0.0.1, is shown as IPv4. */
u_short address_text(const SOCKADDR_INET *address, char text[ADDRESS_TEXT]);
