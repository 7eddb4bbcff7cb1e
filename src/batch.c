/*
 * batch.c - several packets in one call, and none for what is done at once.
 *
 * --batch: GetQueuedCompletionStatusEx takes the packets that are there
 * already, but no more than this worker's share.
 *
 * --inline: once a socket is set to it, the system queues no packet for an
 * operation that is done at once (FILE_SKIP_COMPLETION_PORT_ON_SUCCESS). Then
 * its poster is the only thread that learns of it, and still owns the
 * connection. The post puts it in its owner's list, which the owner handles
 * after its packets.
 */
#include "batch.h"
#include "log.h"
#include "pool.h"
#include "trace.h"

/*
 * Returns whether the socket is a handle of the system itself. If it is one of
 * a layered service provider (without IFS handles), the system may leave out a
 * packet that the provider needs: Microsoft, KB 2568167.
 */
static BOOL has_ifs_handles(SOCKET sock)
{
    WSAPROTOCOL_INFOW info = {0};
    int size = sizeof info;

    getsockopt(sock, SOL_SOCKET, SO_PROTOCOL_INFOW, (char *)&info, &size);
    if ((info.dwServiceFlags1 & XP1_IFS_HANDLES) != 0)
        return TRUE;
    log_failure(
        WSAEOPNOTSUPP,
        "the sockets may not be IFS handles: a layered service provider "
        "can be the cause ('netsh winsock show catalog' lists them)",
        "--inline");
    return FALSE;
}

/* Returns this worker's list, where the connection goes when its operation is
 * done at once; or NULL if every operation gives a packet. Sets the socket to
 * --inline at the connection's first packet, when nothing is outstanding. */
static LPPER_HANDLE_DATA *done_list(BATCH *batch,
                                    const PER_HANDLE_DATA *handleInfo)
{
    if (handleInfo->done != NULL)
        return &batch->done;
    if (batch->server->options.inlineLimit == 0 || handleInfo->received > 0
        || !has_ifs_handles(handleInfo->hClntSock)
        || !log_unless(SetFileCompletionNotificationModes(
                           (HANDLE)handleInfo->hClntSock,
                           FILE_SKIP_COMPLETION_PORT_ON_SUCCESS),
                       "SetFileCompletionNotificationModes (--inline)"))
        return NULL;
    return &batch->done;
}

/*
 * Moves the list into the entries: a round of one operation for each
 * connection. After --inline rounds they go to the end of the port's queue
 * instead: without that limit, clients that always have the next message ready
 * would keep this worker to themselves.
 */
static void take_done(BATCH *batch)
{
    BOOL last = batch->rounds++ >= batch->server->options.inlineLimit;

    while (batch->done != NULL) {
        LPPER_HANDLE_DATA handleInfo = batch->done;
        OVERLAPPED *overlapped = &handleInfo->doneIo->overlapped;
        OVERLAPPED_ENTRY *entry;

        batch->done = handleInfo->nextDone;
        /* Whoever takes this has the operation's own packet: the same key and
         * OVERLAPPED, with the status that the system has left there. If it
         * can't be posted, it is merely handled before its turn. */
        if (last
            && PostQueuedCompletionStatus(batch->server->hComPort,
                                          (DWORD)overlapped->InternalHigh,
                                          (ULONG_PTR)handleInfo, overlapped))
            continue;  /* as after every post, it may be gone */
        ++batch->inlined;
        /* There is room: each came from an entry. InternalHigh holds the bytes
         * transferred, because has_ifs_handles was true. */
        entry = &batch->entries[batch->count++];
        entry->lpCompletionKey = (ULONG_PTR)handleInfo;
        entry->lpOverlapped = overlapped;
        entry->dwNumberOfBytesTransferred = (DWORD)overlapped->InternalHigh;
    }
}

/*
 * Takes this worker's share of the packets that are there, because the others
 * can't help with what it has taken. A connection has at most one packet;
 * without connections, all packets were posted by hand.
 *
 * A worker that waits can't know its share of what will come. So without `more`
 * this waits for one packet, and for a second that tells that there are more:
 * the next call takes the share of them, and does not wait.
 */
static void take_packets(BATCH *batch, BOOL more)
{
    const SERVER *server = batch->server;
    DWORD live = (DWORD)server->registry.live;
    DWORD most = more ? server->options.batch : min(2, server->options.batch);
    DWORD fair = live > 0 ? live / server->options.workers + 1 : most;
    BOOL ok = GetQueuedCompletionStatusEx(server->hComPort, batch->entries,
                                          min(fair, most), &batch->count,
                                          more ? 0 : INFINITE, FALSE);

    fatal_unless(ok || GetLastError() == WAIT_TIMEOUT,
                 "GetQueuedCompletionStatusEx");
    if (!ok)  /* none are there; but Windows may write 1 */
        batch->count = 0;
    ++batch->waits;
    batch->rounds = 0;
}

BOOL batch_take(void *pBatch, DWORD *bytes, ULONG_PTR *key,
                OVERLAPPED **overlapped)
{
    BATCH *batch = pBatch;
    OVERLAPPED_ENTRY *entry;
    LPPER_HANDLE_DATA handleInfo;
    DWORD flags;

    while (batch->next == batch->count) {
        BOOL more = batch->count > 1;

        batch->next = batch->count = 0;
        if (batch->done != NULL)
            take_done(batch);
        else
            take_packets(batch, more);
    }
    entry = &batch->entries[batch->next++];
    *key = entry->lpCompletionKey;
    *bytes = entry->dwNumberOfBytesTransferred;
    *overlapped = entry->lpOverlapped;
    if (*overlapped == NULL && *key == SENTINEL_KEY) {
        /* Only sentinels follow a sentinel: they are for the other workers. */
        pool_post_sentinels(batch->server->hComPort,
                            batch->count - batch->next);
        batch->next = batch->count;
    }
    if (*overlapped == NULL)
        return TRUE;
    handleInfo = (LPPER_HANDLE_DATA)*key;
    handleInfo->done = done_list(batch, handleInfo);
    /* The call that took the packets says nothing about each operation, and
     * only the provider knows where its status is kept. */
    return batch->rounds > 0
           || WSAGetOverlappedResult(handleInfo->hClntSock, *overlapped, bytes,
                                     FALSE, &flags);
}
