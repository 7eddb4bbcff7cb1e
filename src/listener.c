/* listener.c - socket, bind, listen, accept. See listener.h. */
#include "listener.h"
#include "log.h"

#include <stdio.h>
#include <string.h>

/* Main opens it and accepts from it; the thread that stops the server closes
 * it. The exchanges give it to one of them to close, and to no other. */
static void *volatile listener = (void *)INVALID_SOCKET;

/* -------------------------------- opening -------------------------------- */

static const char *advice_for(int code)
{
    switch (code) {
    case WSAEADDRINUSE:
        return "another program listens there, or connections of the last run "
               "are still ending: wait a minute, or choose another port";
    case WSAEACCES:
        return "another program has the port for itself, or Windows reserves "
               "it ('netsh interface ipv4 show excludedportrange "
               "protocol=tcp' lists those): choose another port";
    case WSAEADDRNOTAVAIL:
        return "--bind takes an address of this computer ('ipconfig' lists "
               "them)";
    default:
        return NULL;
    }
}

static socklen_t address_size(const SOCKADDR_INET *address)
{
    return address->si_family == AF_INET ? (socklen_t)sizeof address->Ipv4
                                         : (socklen_t)sizeof address->Ipv6;
}

static BOOL set_option(SOCKET sock, int level, int option, int value)
{
    return setsockopt(sock, level, option, (const char *)&value, sizeof value)
           == 0;
}

/*
 * A socket that listens on the address, or INVALID_SOCKET with the name of the
 * call that failed in *call and its code in *code.
 */
static SOCKET listen_on(const SOCKADDR_INET *address, const char **call,
                        int *code)
{
    SOCKET sock = WSASocketW(address->si_family, SOCK_STREAM, IPPROTO_TCP,
                             NULL, 0, WSA_FLAG_OVERLAPPED);

    if (sock == INVALID_SOCKET) {
        *call = "WSASocket";
        *code = WSAGetLastError();
        return INVALID_SOCKET;
    }
    /* Never SO_REUSEADDR: on Windows it lets any other program take the same
     * port. This does the opposite. */
    if (!set_option(sock, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, TRUE))
        *call = "setsockopt(SO_EXCLUSIVEADDRUSE)";
    /* Dual-stack: IPv4 clients reach [::] as ::ffff:a.b.c.d. */
    else if (address->si_family == AF_INET6
             && !set_option(sock, IPPROTO_IPV6, IPV6_V6ONLY, FALSE))
        *call = "setsockopt(IPV6_V6ONLY)";
    /* The next two are for the clients' sockets, and cost them no call: one
     * that accept makes has the properties of the one that listens (Microsoft's
     * page on accept).
     * An echo is one send for one receive. Nagle's algorithm would hold a
     * small one back until the client acknowledges the previous, which the
     * client's delayed ACK postpones by up to 200 ms. */
    else if (!set_option(sock, IPPROTO_TCP, TCP_NODELAY, TRUE))
        *call = "setsockopt(TCP_NODELAY)";
    /* A peer that lost power or its cable sends no FIN: without probes (after
     * two hours, by default) its connection would stay for ever. */
    else if (!set_option(sock, SOL_SOCKET, SO_KEEPALIVE, TRUE))
        *call = "setsockopt(SO_KEEPALIVE)";
    else if (bind(sock, (const SOCKADDR *)address, address_size(address)) != 0)
        *call = "bind";
    else if (listen(sock, SOMAXCONN) != 0)
        *call = "listen";
    else
        return sock;
    *code = WSAGetLastError();
    if (closesocket(sock) != 0)
        log_failure("closesocket", WSAGetLastError(), NULL);
    return INVALID_SOCKET;
}

/* Whether this failure means that this computer has no IPv6. */
static BOOL no_ipv6(const char *call, int code)
{
    return code == WSAEAFNOSUPPORT || code == WSAEADDRNOTAVAIL
           || strcmp(call, "setsockopt(IPV6_V6ONLY)") == 0;
}

BOOL listener_open(const SOCKADDR_INET *address, BOOL any)
{
    const char *call;
    int code;
    SOCKET sock = listen_on(address, &call, &code);

    if (sock == INVALID_SOCKET && any && no_ipv6(call, code)) {
        SOCKADDR_INET ipv4;

        ZeroMemory(&ipv4, sizeof ipv4);  /* INADDR_ANY */
        ipv4.si_family = AF_INET;
        ipv4.Ipv4.sin_port = address->Ipv6.sin6_port;
        sock = listen_on(&ipv4, &call, &code);
    }
    if (sock == INVALID_SOCKET) {
        log_failure(call, code, advice_for(code));
        return FALSE;
    }
    InterlockedExchangePointer(&listener, (void *)sock);
    return TRUE;
}

void listener_close(void)
{
    SOCKET sock = (SOCKET)InterlockedExchangePointer(&listener,
                                                     (void *)INVALID_SOCKET);

    if (sock != INVALID_SOCKET && closesocket(sock) != 0)
        log_failure("closesocket (listener)", WSAGetLastError(), NULL);
}

/* --------------------------------- using --------------------------------- */

BOOL listener_address(SOCKADDR_INET *address, int *code)
{
    socklen_t size = sizeof *address;

    if (getsockname((SOCKET)listener, (SOCKADDR *)address, &size) == 0)
        return TRUE;
    *code = WSAGetLastError();
    return FALSE;
}

BOOL listener_has_ifs_handles(void)
{
    WSAPROTOCOL_INFOW info;
    socklen_t size = sizeof info;

    return getsockopt((SOCKET)listener, SOL_SOCKET, SO_PROTOCOL_INFOW,
                      (char *)&info, &size)
               == 0
           && (info.dwServiceFlags1 & XP1_IFS_HANDLES) != 0;
}

BOOL listener_listens(void)
{
    int listens = FALSE;
    socklen_t size = sizeof listens;

    return getsockopt((SOCKET)listener, SOL_SOCKET, SO_ACCEPTCONN,
                      (char *)&listens, &size)
               == 0
           && listens;
}

SOCKET listener_accept(SOCKADDR_INET *clntAdr, int *code)
{
    socklen_t size = sizeof *clntAdr;
    /* Main alone makes sockets: should the handle be closed and given out
     * again before accept gets it, it is for something else, and accept fails
     * all the same. */
    SOCKET sock = accept((SOCKET)listener, (SOCKADDR *)clntAdr, &size);

    if (sock == INVALID_SOCKET)
        *code = WSAGetLastError();
    return sock;
}

u_short address_text(const SOCKADDR_INET *address, char text[ADDRESS_TEXT])
{
    /* RFC 4291, 2.5.5.2 */
    static const u_char wrap[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};
    const u_char *bytes = address->Ipv6.sin6_addr.s6_addr;
    SOCKADDR_INET shown = *address;
    char host[ADDRESS_TEXT - 2];

    if (address->si_family == AF_INET6 && memcmp(bytes, wrap, 12) == 0) {
        ZeroMemory(&shown, sizeof shown);
        shown.si_family = AF_INET;
        memcpy(&shown.Ipv4.sin_addr, bytes + 12, 4);
    }
    if (getnameinfo((const SOCKADDR *)&shown, address_size(&shown), host,
                    sizeof host, NULL, 0, NI_NUMERICHOST)
        != 0)
        snprintf(host, sizeof host, "unknown");
    snprintf(text, ADDRESS_TEXT, shown.si_family == AF_INET ? "%s" : "[%s]",
             host);
    return ntohs(address->Ipv4.sin_port);  /* the same place in either */
}
