/*
 * batch.c - several packets in one call, and none for what is done at once.
 *
 * --batch: GetQueuedCompletionStatusEx takes the packets that are there
 * already, but no more than this worker's share.
 *
 * --inline: once a socket is told to, the system queues no packet for an
 * operation that is done at once (FILE_SKIP_COMPLETION_PORT_ON_SUCCESS). Then
 * its poster is the only thread that learns of it, and still owns the
 * connection. The post puts it in the list of its owner, who handles the list
 * when it is done with its packets.
 */
#include "batch.h"
#include "log.h"
#include "pool.h"
#include "trace.h"

/*
 * Returns whether the sockets are handles of the system itself. Where a layered
 * service provider stands in between (one without IFS handles), the system may
 * leave out a packet that the provider was to pass on: Microsoft, KB 2568167.
 */
static BOOL has_ifs_handles(SOCKET sock)
{
    WSAPROTOCOL_INFOW info = {0};
    int size = sizeof info;

    getsockopt(sock, SOL_SOCKET, SO_PROTOCOL_INFOW, (char *)&info, &size);
    if ((info.dwServiceFlags1 & XP1_IFS_HANDLES) != 0)
        return TRUE;
    log_failure(
        "--inline", WSAEOPNOTSUPP,
        "the sockets may not be IFS handles: a layered service provider "
        "can be the cause ('netsh winsock show catalog' lists them)");
    return FALSE;
}

/* A connection's first packet finds its socket as it was made, with nothing
 * outstanding: from here on it does without the packets of what is done at
 * once. Returns where its owner, this thread, finds that instead. */
static LPPER_HANDLE_DATA *done_list(BATCH_WORKER *batch,
                                    const PER_HANDLE_DATA *handleInfo)
{
    if (handleInfo->done != NULL)
        return &batch->done;
    if (batch->worker.options->inlineLimit == 0 || handleInfo->received > 0
        || !has_ifs_handles(handleInfo->hClntSock)
        || !log_unless(SetFileCompletionNotificationModes(
                           (HANDLE)handleInfo->hClntSock,
                           FILE_SKIP_COMPLETION_PORT_ON_SUCCESS),
                       "SetFileCompletionNotificationModes (--inline)"))
        return NULL;
    return &batch->done;
}

static void handle(BATCH_WORKER *batch, LPPER_HANDLE_DATA handleInfo,
                   LPPER_IO_DATA ioInfo, DWORD bytes, DWORD code)
{
    handleInfo->done = done_list(batch, handleInfo);
    worker_operation(&batch->worker, handleInfo, ioInfo, bytes, code);
}

/* Queues the packet of an operation that is done and has none, behind those of
 * all others. Returns FALSE if that failed: the caller still owns it. */
static BOOL queue(BATCH_WORKER *batch, LPPER_HANDLE_DATA handleInfo,
                  LPPER_IO_DATA ioInfo)
{
    /* For whoever takes it this is the operation's own packet: the same key,
     * the same OVERLAPPED, with the status that the system has left there. */
    if (PostQueuedCompletionStatus(batch->worker.hComPort,
                                   (DWORD)ioInfo->overlapped.InternalHigh,
                                   (ULONG_PTR)handleInfo, &ioInfo->overlapped))
        return TRUE;  /* and as after every post: no touching it here */
    log_failure("PostQueuedCompletionStatus", (int)GetLastError(),
                "a connection does not wait for its turn");
    return FALSE;
}

/*
 * Handles the list in rounds of one operation for each connection, until no
 * more is done at once; after --inline rounds the rest goes to the end of the
 * port's queue. Without that limit, clients that always have the next message
 * ready would have this worker for themselves.
 */
static void handle_done(BATCH_WORKER *batch)
{
    DWORD round;

    for (round = 0; batch->done != NULL; ++round) {
        LPPER_HANDLE_DATA next, handleInfo = batch->done;
        BOOL last = round >= batch->worker.options->inlineLimit;

        batch->done = NULL;  /* the next round's begin here */
        for (; handleInfo != NULL; handleInfo = next) {
            LPPER_IO_DATA ioInfo = handleInfo->doneIo;

            next = handleInfo->nextDone;
            if (last && queue(batch, handleInfo, ioInfo))
                continue;
            ++batch->inlined;
            /* InternalHigh holds the bytes transferred where the sockets are
             * the system's own handles, and only there this is done. */
            handle(batch, handleInfo, ioInfo,
                   (DWORD)ioInfo->overlapped.InternalHigh, NO_ERROR);
        }
    }
}

/* Returns what became of the operation of a packet in a batch: that the call
 * has succeeded says nothing of each, and only the provider knows where the
 * status is kept. */
static DWORD operation_code(const PER_HANDLE_DATA *handleInfo,
                            LPPER_IO_DATA ioInfo)
{
    DWORD bytes, flags;

    return WSAGetOverlappedResult(handleInfo->hClntSock, &ioInfo->overlapped,
                                  &bytes, FALSE, &flags)
               ? NO_ERROR
               : (DWORD)WSAGetLastError();
}

/* Returns how many packets to take: this worker's share, because the others
 * can't help with what it has taken. A connection has one packet at most; if
 * there is no connection, the packets are those that were posted by hand. */
static DWORD share(const BATCH_WORKER *batch)
{
    DWORD most = batch->worker.options->batch;
    DWORD live = (DWORD)batch->registry->live;
    DWORD fair = live / batch->workers + 1;

    return live == 0 || fair > most ? most : fair;
}

/* Takes packets and handles all of them, also those behind a sentinel. Of
 * several sentinels this worker needs one; it posts the others again, for the
 * other workers. Returns FALSE if the worker has to end. */
static BOOL take_packets(BATCH_WORKER *batch)
{
    OVERLAPPED_ENTRY entries[MAX_BATCH];
    WORKER *worker = &batch->worker;
    ULONG i, count = 0;
    DWORD sentinels = 0;

    fatal_unless(GetQueuedCompletionStatusEx(worker->hComPort, entries,
                                             share(batch), &count, INFINITE,
                                             FALSE),
                 "GetQueuedCompletionStatusEx");
    ++batch->waits;
    for (i = 0; i < count; ++i) {
        ULONG_PTR key = entries[i].lpCompletionKey;
        LPPER_IO_DATA ioInfo = (LPPER_IO_DATA)entries[i].lpOverlapped;
        DWORD bytes = entries[i].dwNumberOfBytesTransferred;

        if (ioInfo == NULL) {
            sentinels += worker_posted(worker, key, bytes) ? 0u : 1u;
            continue;
        }
        ++worker->completions;
        handle(batch, (LPPER_HANDLE_DATA)key, ioInfo, bytes,
               operation_code((LPPER_HANDLE_DATA)key, ioInfo));
    }
    handle_done(batch);
    if (sentinels > 1)
        pool_post_sentinels(worker->hComPort, sentinels - 1);
    return sentinels == 0;
}

unsigned WINAPI BatchThreadMain(LPVOID pWorker)
{
    BATCH_WORKER batch = *(BATCH_WORKER *)pWorker;  /* as in EchoThreadMain */

    TRACE(trace_thread("worker", batch.worker.id));
    while (take_packets(&batch))
        ;
    *(BATCH_WORKER *)pWorker = batch;
    return 0;
}
