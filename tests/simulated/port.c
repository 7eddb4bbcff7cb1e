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

static OBJECT *port_of(HANDLE handle)
{
    OBJECT *port = object_of(handle, PORT);

    if (port == NULL || port != world.port)
        blame("the port is closed");
    return port;
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
    port_of(port);
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
static void hand_over(const PACKET *packet)
{
    clock_acquire(&packet->clock);
    if (packet->overlapped != NULL)
        ++world.taken;
    if (packet->client == NULL)
        return;
    kernel_gives(packet->overlapped, sizeof *packet->overlapped);
    kernel_gives(packet->buffer, packet->size);
    check_taken(packet);
}

/* Returns Windows' code for an operation that failed with Winsock's `code`. */
static DWORD as_windows(DWORD code)
{
    return code == WSAECONNRESET ? ERROR_NETNAME_DELETED : code;
}

BOOL GetQueuedCompletionStatus(HANDLE port, DWORD *bytes, ULONG_PTR *key,
                               OVERLAPPED **overlapped, DWORD milliseconds)
{
    CALL(GetQueuedCompletionStatus, FALSE);
    PACKET packet;

    port_of(port);
    *overlapped = NULL;
    if (!next_packet(&packet, milliseconds))
        return fails(WAIT_TIMEOUT);
    *bytes = packet.bytes;
    *key = packet.key;
    *overlapped = packet.overlapped;
    hand_over(&packet);
    return packet.code == 0 || fails(as_windows(packet.code));
}

BOOL GetQueuedCompletionStatusEx(HANDLE port, OVERLAPPED_ENTRY *entries,
                                 ULONG count, ULONG *removed,
                                 DWORD milliseconds, BOOL alertable)
{
    PACKET packet;
    DWORD i = 0;

    CALL(GetQueuedCompletionStatusEx, FALSE);
    port_of(port);
    if (count == 0)
        blame("GetQueuedCompletionStatusEx for no packet");
    if (!next_packet(&packet, milliseconds))
        return fails(WAIT_TIMEOUT);
    for (;;) {
        entries[i].lpCompletionKey = packet.key;
        entries[i].lpOverlapped = packet.overlapped;
        entries[i].Internal = packet.code;
        entries[i].dwNumberOfBytesTransferred = packet.bytes;
        hand_over(&packet);
        if (++i == count || world.packets == 0)
            break;
        packet = first_packet();
    }
    *removed = i;
    return TRUE;
}

/* The packet may be taken and handled before this returns. */
BOOL PostQueuedCompletionStatus(HANDLE port, DWORD bytes, ULONG_PTR key,
                                OVERLAPPED *overlapped)
{
    CALL(PostQueuedCompletionStatus, FALSE);
    PACKET packet = {0};

    port_of(port);
    packet.bytes = bytes;
    packet.key = key;
    packet.overlapped = overlapped;
    clock_release(&packet.clock);
    if (overlapped != NULL)
        packet.code = (DWORD)overlapped->Internal;
    tell("posts a packet by hand");
    port_put(&packet);
    if (may(MAY_early, 1))
        point();
    return TRUE;
}
