/*
 * port.c - the completion port.
 *
 * It follows Microsoft's pages on I/O completion ports,
 * GetQueuedCompletionStatus and CreateIoCompletionPort. Packets are taken first
 * in, first out. Waiting threads are released last in, first out. The number of
 * running threads is limited. A thread that waits for something else does not
 * count, and the port releases another. When it goes on, more threads than the
 * limit may run for a moment.
 */
#include "world.h"

static PACKET first_packet(void)
{
    unsigned first = world.first;

    world.first = (first + 1) % MAX_PACKETS;
    --world.packets;
    return world.queue[first];
}

static void serve(THREAD *thread)
{
    thread->packet = first_packet();
    thread->served = TRUE;
    ++world.portRunning;
}

/* Gives packets to waiting threads, as far as the limit permits. */
static void release(void)
{
    while (world.packets > 0 && world.portRunning < world.portLimit) {
        THREAD *last = NULL, *thread;

        for (thread = world.threads; thread < world.threads + MAX_THREADS;
             ++thread)
            if (thread->state == WAITING && thread->waitsSince != 0
                && !thread->served
                && (last == NULL || thread->waitsSince > last->waitsSince))
                last = thread;
        if (last == NULL)
            return;
        serve(last);
    }
}

void port_put(const PACKET *packet)
{
    if (world.packets == MAX_PACKETS)
        blame("more than %d packets wait", MAX_PACKETS);
    world.queue[(world.first + world.packets++) % MAX_PACKETS] = *packet;
    release();
}

void port_blocks(THREAD *thread)
{
    if (!thread->onPort || thread->waitsSince != 0)
        return;
    --world.portRunning;
    release();
}

void port_resumes(THREAD *thread)
{
    if (thread->onPort && thread->waitsSince == 0)
        ++world.portRunning;
}

HANDLE CreateIoCompletionPort(HANDLE file, HANDLE port, ULONG_PTR key,
                              DWORD threads)
{
    CALL(CreateIoCompletionPort, NULL);
    OBJECT *object;

    if (file == INVALID_HANDLE_VALUE) {
        if (world.port != NULL)
            blame("a second port");
        world.port = object_open(PORT);
        world.portLimit = threads != 0 ? threads : world.scenario.cpus;
        /* If counting the CPUs failed, the server takes one. */
        if (world.portLimit != world.scenario.concurrency
            && (world.failed == 0 || world.portLimit != 1))
            blame("--concurrency is not what the port gets");
        return object_handle(world.port);
    }
    object = object_of(file, SOCKET_HANDLE);
    object_of(port, PORT);
    if (object->associated)
        return fails(ERROR_INVALID_PARAMETER), NULL;
    object->associated = TRUE;
    object->key = key;
    tell("ties #%d to the port", object->client->number);
    return port;
}

BOOL SetFileCompletionNotificationModes(HANDLE file, UCHAR modes)
{
    CALL(SetFileCompletionNotificationModes, FALSE);
    OBJECT *sock = object_of(file, SOCKET_HANDLE);

    sock->skips = sock->skips || (modes & 1) != 0;
    return TRUE;
}

/* --------------------------------- taking -------------------------------- */

static BOOL served(void *pThread) { return ((THREAD *)pThread)->served; }

/* Gets this thread's next packet. Returns FALSE when the time is over. */
static BOOL next_packet(PACKET *packet, DWORD milliseconds)
{
    THREAD *me = world.running;

    if (me->onPort)
        --world.portRunning;
    me->onPort = TRUE;
    me->served = FALSE;
    if (world.packets > 0 && world.portRunning < world.portLimit) {
        serve(me);
    } else {
        /* Another thread may run in place of this one. */
        release();
        me->waitsSince = ++world.waits;
        wait_for(served, me, milliseconds);
        me->waitsSince = 0;
    }
    if (!me->served) {
        ++world.portRunning;
        return FALSE;
    }
    *packet = me->packet;
    return TRUE;
}

/* Gives the server the packet, and the operation's memory back. */
static void hand_over(const PACKET *packet, OVERLAPPED_ENTRY *entry)
{
    const OP *op = &packet->op;

    entry->lpCompletionKey = packet->key;
    entry->lpOverlapped = op->overlapped;
    entry->Internal = packet->code;
    entry->dwNumberOfBytesTransferred = op->moved;
    clock_acquire(packet->client == NULL ? (void *)world.port
                                         : op->overlapped);
    if (op->overlapped != NULL)
        ++world.taken;
    if (packet->client == NULL)
        return;
    kernel_gives(op->overlapped, sizeof *op->overlapped);
    kernel_gives(op->buffer, op->size);
    check_taken(packet);
}

/* Takes up to `count` packets. Returns how many; 0 when the time is over. */
static ULONG take(HANDLE port, OVERLAPPED_ENTRY *entries, ULONG count,
                  DWORD milliseconds)
{
    PACKET packet;
    ULONG i = 0;

    object_of(port, PORT);
    if (!next_packet(&packet, milliseconds))
        return fails(WAIT_TIMEOUT);
    hand_over(&packet, &entries[i]);
    while (++i < count && world.packets > 0) {
        packet = first_packet();
        hand_over(&packet, &entries[i]);
    }
    return i;
}

/* Windows' code for an operation that failed differs from Winsock's. */
BOOL GetQueuedCompletionStatus(HANDLE port, DWORD *bytes, ULONG_PTR *key,
                               OVERLAPPED **overlapped, DWORD milliseconds)
{
    OVERLAPPED_ENTRY entry = {0};

    CALL(GetQueuedCompletionStatus, FALSE);
    *overlapped = NULL;
    if (take(port, &entry, 1, milliseconds) == 0)
        return FALSE;
    *bytes = entry.dwNumberOfBytesTransferred;
    *key = entry.lpCompletionKey;
    *overlapped = entry.lpOverlapped;
    return entry.Internal == 0
           || fails(entry.Internal == WSAECONNRESET ? ERROR_NETNAME_DELETED
                                                    : (DWORD)entry.Internal);
}

BOOL GetQueuedCompletionStatusEx(HANDLE port, OVERLAPPED_ENTRY *entries,
                                 ULONG count, ULONG *removed,
                                 DWORD milliseconds, BOOL alertable)
{
    CALL(GetQueuedCompletionStatusEx, FALSE);
    if (count == 0)
        blame("a wait for no packet");
    *removed = take(port, entries, count, milliseconds);
    /* How many connections need a share can change while it waits. */
    if (milliseconds != 0 && *removed > 2)
        blame("a worker that waited takes more than two packets");
    if (*removed > 0)
        return TRUE;
    *removed = 1;  /* only a success says something */
    return FALSE;
}

/* The packet may be taken and handled before this returns. */
BOOL PostQueuedCompletionStatus(HANDLE port, DWORD bytes, ULONG_PTR key,
                                OVERLAPPED *overlapped)
{
    CALL(PostQueuedCompletionStatus, FALSE);
    PACKET packet = {{.overlapped = overlapped, .moved = bytes}, .key = key};

    clock_release(object_of(port, PORT));
    if (overlapped != NULL)
        packet.code = (DWORD)overlapped->Internal;
    tell("posts a packet by hand");
    port_put(&packet);
    if (may(MAY_early, 1))
        point();
    return TRUE;
}
