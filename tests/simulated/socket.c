/*
 * socket.c - Winsock's calls, and the operations of a socket.
 *
 * An operation's memory is poisoned from the post until its packet is taken, so
 * ASan sees it if the server reads, writes or frees it.
 */
#include "world.h"

static OBJECT *socket_of(SOCKET sock)
{
    if (!world.winsock)
        blame("after WSACleanup or before WSAStartup");
    return object_of((HANDLE)sock, SOCKET_HANDLE);
}

static OBJECT *listener_of(SOCKET sock)
{
    if (!world.winsock || !world.listened)
        blame("after WSACleanup, or before there is a socket");
    return object_of((HANDLE)sock, LISTENER);
}

static int no_socket(DWORD code)
{
    fails(code);
    return SOCKET_ERROR;
}

/* ------------------------------ begin and end ---------------------------- */

int WSAStartup(WORD version, WSADATA *data)
{
    DWORD code = enter(CALL_WSAStartup);

    data->wVersion = version;
    world.winsock = code == 0;
    return (int)code;
}

int WSACleanup(void)
{
    DWORD code = enter(CALL_WSACleanup);
    int i;

    if (!world.winsock)
        blame("WSACleanup without WSAStartup");
    for (i = 0; i < MAX_OBJECTS; ++i)
        if (world.objects[i].kind == SOCKET_HANDLE
            || world.objects[i].kind == LISTENER)
            blame("WSACleanup with a socket that is open");
    world.winsock = FALSE;
    point();
    return code != 0 ? no_socket(code) : 0;
}

/* ------------------------------ the listener ----------------------------- */

SOCKET WSASocketW(int family, int type, int protocol, LPWSAPROTOCOL_INFOW info,
                  GROUP group, DWORD flags)
{
    CALL(WSASocketW, INVALID_SOCKET);
    if (family == AF_INET6 && world.scenario.noIpv6)
        return fails(WSAEAFNOSUPPORT), INVALID_SOCKET;
    world.listened = TRUE;
    return (SOCKET)object_handle(object_open(LISTENER));
}

int setsockopt(SOCKET sock, int level, int name, const char *value, int size)
{
    CALL(setsockopt, SOCKET_ERROR);
    listener_of(sock);
    return 0;
}

int getsockopt(SOCKET sock, int level, int name, char *value, int *size)
{
    WSAPROTOCOL_INFOW info = {.dwServiceFlags1 = XP1_IFS_HANDLES};
    OBJECT *listener;

    CALL(getsockopt, SOCKET_ERROR);
    if (name == SO_PROTOCOL_INFOW) {
        socket_of(sock);
        memcpy(value, &info, sizeof info);
        return 0;
    }
    listener = listener_of(sock);
    if (listener == NULL)
        return no_socket(WSAENOTSOCK);
    memcpy(value, &listener->listens, sizeof(int));
    return 0;
}

int bind(SOCKET sock, const SOCKADDR *address, int size)
{
    CALL(bind, SOCKET_ERROR);
    listener_of(sock);
    return 0;
}

/* SOMAXCONN is "a maximum reasonable value", some 200. It means three here,
 * where there are at most ten clients. A hint of N, which is -N, means N:
 * Microsoft's page on listen. */
int listen(SOCKET sock, int backlog)
{
    OBJECT *listener = listener_of(sock);

    CALL(listen, SOCKET_ERROR);
    listener->listens = TRUE;
    listener->backlog = backlog < 0 ? -backlog : backlog;
    if (backlog == SOMAXCONN)
        listener->backlog = 3;
    world.listener = listener;
    return 0;
}

int getsockname(SOCKET sock, SOCKADDR *address, int *size)
{
    CALL(getsockname, SOCKET_ERROR);
    listener_of(sock);
    ((SOCKADDR_IN *)(void *)address)->sin_port = htons(9190);
    return 0;
}

static BOOL accept_is_over(void *unused)
{
    return world.waiting > 0 || world.listener == NULL;
}

/* If a client resets while it waits, accept either succeeds and every operation
 * fails, or it fails with WSAECONNRESET: Microsoft's page on accept. */
static SOCKET accept_client(CLIENT *client, SOCKADDR *address)
{
    SOCKADDR_IN *peer = (SOCKADDR_IN *)(void *)address;
    OBJECT *sock;

    client->accepted = TRUE;
    if (client->resetArrived && may(MAY_dead_accept, 2)) {
        tell("accept fails for #%d, which is gone", client->number);
        return fails(WSAECONNRESET), INVALID_SOCKET;
    }
    ++world.accepted;
    sock = object_open(SOCKET_HANDLE);
    sock->client = client;
    client->sock = sock;
    client->postedAt = client->ownedAt = client->takenAt = world.now;
    client->timeouts = 1;
    memset(address, 0, sizeof(SOCKADDR_INET));
    peer->sin_family = AF_INET;
    peer->sin_port = htons((u_short)(50000 + client->number));
    peer->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    tell("accepts #%d", client->number);
    return (SOCKET)object_handle(sock);
}

/* Fails accept on a listener that was closed: WSAEINTR or WSAENOTSOCK, by the
 * pages on accept and closesocket; 995 under Wine. */
static SOCKET released(void)
{
    static const DWORD codes[] = {WSAEINTR, WSAENOTSOCK,
                                  ERROR_OPERATION_ABORTED};

    tell("accept is released");
    fails(codes[may(MAY_release, 1) ? below(&world.liberty, 3) : 0]);
    return INVALID_SOCKET;
}

SOCKET accept(SOCKET sock, SOCKADDR *address, int *size)
{
    CLIENT *client;

    CALL(accept, INVALID_SOCKET);
    if (listener_of(sock) == NULL)
        return fails(WSAENOTSOCK), INVALID_SOCKET;
    wait_for(accept_is_over, NULL, INFINITE);
    if (world.listener == NULL)
        return released();
    client = world.backlog[0];
    --world.waiting;
    memmove(world.backlog, world.backlog + 1,
            world.waiting * sizeof *world.backlog);
    return accept_client(client, address);
}

/* ------------------------------- operations ------------------------------ */

/* Poisons what the kernel owns from now on. */
static OP *op_begin(OBJECT *sock, const WSABUF *buffer, OVERLAPPED *overlapped,
                    BOOL writes)
{
    OP *op = sock->ops;

    while (op->overlapped != NULL)
        if (++op == sock->ops + MAX_OPS)
            blame("#%d has more operations than %d", sock->client->number,
                  MAX_OPS);
    overlapped->Internal = 0x103; /* STATUS_PENDING */
    *op = (OP){.overlapped = overlapped,
               .buffer = buffer->buf,
               .size = buffer->len,
               .writes = writes};
    clock_release(overlapped);
    kernel_takes(overlapped, sizeof *overlapped);
    kernel_takes(op->buffer, op->size);
    return op;
}

static void set_status(const OP *op, DWORD code)
{
    kernel_gives(op->overlapped, sizeof *op->overlapped);
    op->overlapped->Internal = code;
    op->overlapped->InternalHigh = op->moved;
}

/* Ends an operation and queues its packet. */
void op_ends(OBJECT *sock, OP *op, DWORD code)
{
    PACKET packet = {*op, code, sock->key, sock->client};

    tell("the kernel ends the %s of #%d: %u bytes, code %u",
         op->writes ? "WRITE" : "READ", sock->client->number, op->moved, code);
    set_status(op, code);
    kernel_takes(op->overlapped, sizeof *op->overlapped);
    op->overlapped = NULL;
    if (sock->associated)
        port_put(&packet);
}

/* Ends an operation at once; without a packet if the socket skips those. */
static int done_at_once(OBJECT *sock, OP *op)
{
    PACKET packet = {*op, 0, sock->key, sock->client};

    if (!sock->skips) {
        op_ends(sock, op, 0);
        return 0;
    }
    tell("%s of #%d is done at once, %u bytes, without a packet",
         op->writes ? "WRITE" : "READ", sock->client->number, op->moved);
    set_status(op, 0);
    kernel_gives(op->buffer, op->size);
    op->overlapped = NULL;
    check_taken(&packet);
    return 0;
}

/* Posts an operation, which is done at once, pends or fails. The state decides,
 * or the system is free to. The kernel, another worker and all others may go on
 * before this returns. A reset may show at once or later. */
static int post(OBJECT *sock, const WSABUF *buffer, OVERLAPPED *overlapped,
                BOOL writes)
{
    CLIENT *client = sock->client;
    int result = SOCKET_ERROR;
    OP *op;

    if (sock->finSent && writes)
        blame("#%d: a WRITE after the FIN", client->number);
    if (client->resetArrived && !may(MAY_fail_later, 2)) {
        client->failed = TRUE;
        return no_socket(WSAECONNRESET);
    }
    check_post(client, writes ? (buffer->len + 65535) / 65536 : 1,
               !writes && buffer->len > 4096);
    tell("posts a %s of #%d, %u bytes", writes ? "WRITE" : "READ",
         client->number, buffer->len);
    op = op_begin(sock, buffer, overlapped, writes);
    if ((may(MAY_at_once, 2) || world.scenario.eager) && !client->resetArrived
        && (op_move(client, op, TRUE) > 0
            || (!writes && (client->finArrived || op->size == 0)
                && (client->arrived > client->taken || client->finArrived))))
        result = done_at_once(sock, op);
    fails(result == 0 ? 0 : WSA_IO_PENDING);
    if (may(MAY_early, 1))
        point();
    return result;
}

int WSARecv(SOCKET sock, WSABUF *buffers, DWORD count, DWORD *bytes,
            DWORD *flags, OVERLAPPED *overlapped,
            LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    CALL(WSARecv, SOCKET_ERROR);
    *flags = 0;
    return post(socket_of(sock), buffers, overlapped, FALSE);
}

int WSASend(SOCKET sock, WSABUF *buffers, DWORD count, DWORD *bytes,
            DWORD flags, OVERLAPPED *overlapped,
            LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    CALL(WSASend, SOCKET_ERROR);
    return post(socket_of(sock), buffers, overlapped, TRUE);
}

BOOL WSAGetOverlappedResult(SOCKET sock, OVERLAPPED *overlapped, DWORD *bytes,
                            BOOL wait, DWORD *flags)
{
    OP *op;

    *bytes = (DWORD)overlapped->InternalHigh;
    *flags = 0;
    CALL(WSAGetOverlappedResult, FALSE);
    OBJECT *object = socket_of(sock);
    for (op = object->ops; op < object->ops + MAX_OPS; ++op)
        if (op->overlapped == overlapped)
            blame("the result of an operation that is outstanding");
    return overlapped->Internal == 0 || fails((DWORD)overlapped->Internal);
}

/* -------------------------------- cancelling ----------------------------- */

/* Systems differ in the code of a cancelled receive. */
static DWORD cancelled_code(void)
{
    static const DWORD codes[] = {ERROR_OPERATION_ABORTED,
                                  ERROR_NETNAME_DELETED,
                                  ERROR_CONNECTION_ABORTED};
    unsigned which = below(&world.liberty, 3);

    return codes[may(MAY_codes, 2) ? which : 0];
}

/* A cancelled operation may still complete normally, with
 * ERROR_OPERATION_ABORTED, or with another error: Microsoft's page on
 * CancelIoEx. Its packet comes at once or later. */
BOOL CancelIoEx(HANDLE file, OVERLAPPED *overlapped)
{
    note_silent(object_at(file)->client);
    CALL(CancelIoEx, FALSE);
    OBJECT *sock = socket_of((SOCKET)file);
    BOOL found = FALSE;
    OP *op;

    for (op = sock->ops; op < sock->ops + MAX_OPS; ++op) {
        if (op->overlapped == NULL
            || (overlapped != NULL && op->overlapped != overlapped))
            continue;
        check_cancel(sock->client, op);
        tell("cancels the %s of #%d", op->writes ? "WRITE" : "READ",
             sock->client->number);
        found = op->cancelled = TRUE;
        if (may(MAY_late_cancel, 2))
            continue; /* network.c ends it, perhaps well */
        op_ends(sock, op, cancelled_code());
    }
    return found || fails(ERROR_NOT_FOUND);
}

/* ---------------------------------- closing ------------------------------ */

int shutdown(SOCKET sock, int how)
{
    OBJECT *object = socket_of(sock);
    CLIENT *client = object->client;

    CALL(shutdown, SOCKET_ERROR);
    if (client->resetArrived)
        return no_socket(WSAECONNRESET);
    check_shutdown(client);
    object->finSent = client->serverFin = TRUE;
    tell("sends the FIN of #%d", client->number);
    return 0;
}

static void close_listener(OBJECT *listener)
{
    unsigned i;

    for (i = 0; i < world.waiting; ++i)
        connection_reset(world.backlog[i]);
    world.waiting = 0;
    if (world.listener == listener) {
        world.listener = NULL;
        world.closedAt = world.now;
        world.lost = world.pressed == 0;
    }
    object_close(listener);
}

/* A pending receive comes back, a stuck send may not. If bytes are unread or
 * still arrive, the server sends a reset, which may overtake what is on its way
 * to the client. */
int closesocket(SOCKET sock)
{
    DWORD code = enter(CALL_closesocket);
    OBJECT *object = object_of((HANDLE)sock, LISTENER);
    CLIENT *client;
    OP *op;

    if (!world.winsock)
        blame("after WSACleanup");
    if (object != NULL) {
        close_listener(object);
        point();
        return 0;
    }
    object = socket_of(sock);
    client = object->client;
    check_close(object);
    for (op = object->ops; op < object->ops + MAX_OPS; ++op)
        if (op->overlapped != NULL && !op->writes)
            op_ends(object, op, ERROR_OPERATION_ABORTED);
    client->serverFin = client->closed = TRUE;
    client->sock = NULL;
    tell("closes #%d", client->number);
    if (client->arrived > client->taken)
        connection_reset(client);
    object_close(object);
    point();
    return code != 0 ? no_socket(code) : 0;
}
