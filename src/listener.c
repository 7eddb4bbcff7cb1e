/* listener.c - socket, bind, listen. See listener.h. */
#include "listener.h"
#include "log.h"

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

static const struct {
    int level, option, value;
    const char *call;
} socketOptions[] = {
    /* Dual-stack: IPv4 clients reach [::] as ::ffff:a.b.c.d. (First in the
     * table: for IPv4 it is left out.) */
    {IPPROTO_IPV6, IPV6_V6ONLY, FALSE, "setsockopt(IPV6_V6ONLY)"},
    /* Never SO_REUSEADDR: on Windows it lets any other program take the same
     * port. This does the opposite. */
    {SOL_SOCKET, SO_EXCLUSIVEADDRUSE, TRUE, "setsockopt(SO_EXCLUSIVEADDRUSE)"},
    /* The next two are for the clients' sockets: accept makes them with the
     * properties of the listening one (Microsoft's page on accept).
     * An echo is one send for one receive. Nagle's algorithm would hold a small
     * one back until the client acknowledges the previous one, which the
     * client's delayed ACK postpones by up to 200 ms. */
    {IPPROTO_TCP, TCP_NODELAY, TRUE, "setsockopt(TCP_NODELAY)"},
    /* A peer that lost power or its cable sends no FIN: without probes (after
     * two hours, by default) its connection would stay for ever. */
    {SOL_SOCKET, SO_KEEPALIVE, TRUE, "setsockopt(SO_KEEPALIVE)"},
};

/* Makes the socket listen on *address, and stores there what it got. Returns
 * the name of the call that failed, or NULL. */
static const char *listen_on(SOCKET sock, SOCKADDR_INET *address)
{
    BOOL ipv6 = address->si_family == AF_INET6;
    socklen_t size = ipv6 ? sizeof address->Ipv6 : sizeof address->Ipv4;
    size_t i;

    for (i = ipv6 ? 0 : 1; i < sizeof socketOptions / sizeof *socketOptions;
         ++i)
        if (setsockopt(sock, socketOptions[i].level, socketOptions[i].option,
                       (const char *)&socketOptions[i].value, sizeof(int))
            != 0)
            return socketOptions[i].call;
    if (bind(sock, (const SOCKADDR *)address, size) != 0)
        return "bind";
    /* SOMAXCONN means some 200 waiting clients since Windows 8, and the next
     * one is reset. The hint goes higher (Microsoft's page on listen). */
    if (listen(sock, SOMAXCONN_HINT(65535)) != 0)
        return "listen";
    if (getsockname(sock, (SOCKADDR *)address, &size) != 0)
        return "getsockname";
    return NULL;
}

/* Returns a listening socket, or INVALID_SOCKET with the name of the call that
 * failed in *call and its code in *code. */
static SOCKET open_socket(SOCKADDR_INET *address, const char **call, int *code)
{
    SOCKET sock = WSASocketW(address->si_family, SOCK_STREAM, IPPROTO_TCP,
                             NULL, 0, WSA_FLAG_OVERLAPPED);

    *call = sock == INVALID_SOCKET ? "WSASocket" : listen_on(sock, address);
    *code = WSAGetLastError();
    if (*call == NULL || sock == INVALID_SOCKET)
        return sock;
    log_unless(closesocket(sock) == 0, "closesocket");
    return INVALID_SOCKET;
}

SOCKET listener_open(SOCKADDR_INET *address)
{
    u_short port = address->Ipv4.sin_port;  /* the same place in either */
    BOOL any = address->si_family == AF_UNSPEC;
    const char *call;
    SOCKET sock;
    int code;

    if (any)
        address->si_family = AF_INET6;  /* all zero: in6addr_any */
    sock = open_socket(address, &call, &code);
    if (sock == INVALID_SOCKET && any
        && (code == WSAEAFNOSUPPORT || code == WSAEADDRNOTAVAIL
            || call == socketOptions[0].call)) {  /* no IPv6 here */
        ZeroMemory(address, sizeof *address);  /* INADDR_ANY */
        address->si_family = AF_INET;
        address->Ipv4.sin_port = port;
        sock = open_socket(address, &call, &code);
    }
    if (sock == INVALID_SOCKET) {
        char text[ADDRESS_TEXT];

        log_failure(code, advice_for(code), "%s %s", call,
                    log_address(address, text));
    }
    return sock;
}

BOOL listener_listens(SOCKET listener)
{
    int listens = FALSE;
    socklen_t size = sizeof listens;

    /* If this fails, it stays FALSE. */
    getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, (char *)&listens, &size);
    return listens;
}
