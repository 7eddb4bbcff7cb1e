/*
 * worker.c - EchoThreadMain and the READ/WRITE state machine.
 *
 *                  bytes > 0                   all of it sent
 *         +-- READ -----------> WRITE ----------------------------+
 *         |    |                 | ^                              |
 *         |    | 0 bytes: EOF    | | short: the rest              |
 *         |    v                 +-+                              |
 *         |   close                                               |
 *         +-------------------------------------------------------+
 *
 * A connection has one operation outstanding, so its packets come one after
 * the other, each to whichever worker is free. Between two packets the bytes
 * of a connection are in its buffer or nowhere: a client that does not read
 * gets no further than its pending WRITE, and is not read from either.
 *
 * Each function of the state machine ends with the post of the next operation
 * or with the end of the connection, and returns what the post does: NULL, the
 * connection is no longer this worker's; or (--inline) an operation that is
 * done already and will give no packet.
 */
#include "worker.h"
#include "connection.h"
#include "log.h"
#include "registry.h"
#include "server.h"
#include "trace.h"
#include "work.h"

/* ---------------------------- the state machine -------------------------- */

/* A READ of zero bytes is done: there is something to receive, or the end of
 * file, or a failure. The next READ tells which, and does not wait. */
static LPPER_IO_DATA readable(DWORD worker, LPPER_HANDLE_DATA handleInfo)
{
    log_detail("readable conn=%llu worker=%lu", handleInfo->id, worker);
    return connection_read_announced(handleInfo);
}

/* A READ is done: `bytes` bytes are in the buffer; 0 is the end of file. */
static LPPER_IO_DATA read_done(DWORD worker, LPPER_HANDLE_DATA handleInfo,
                               DWORD bytes)
{
    log_detail("%s conn=%llu worker=%lu bytes=%lu",
               handleInfo->discarding ? "discard" : "read", handleInfo->id,
               worker, bytes);
    if (handleInfo->discarding) {
        /* The server stops, and this one only waits for its client to close.
         * May it still? Asked anew each time: where data never runs out, every
         * READ is done at once, and there is none for the sweep to cancel. */
        if (bytes > 0 && registry_discard(handleInfo))
            return connection_read(handleInfo);
        connection_close(handleInfo, CLOSE_STOPPED);
        return NULL;
    }
    if (bytes == 0) {
        /* All that came before has been echoed: this READ was posted only
         * after the last WRITE was done. */
        connection_shutdown(handleInfo);
        connection_close(handleInfo, CLOSE_EOF);
        return NULL;
    }
    connection_received(handleInfo, bytes);
    work_do();
    return connection_write(handleInfo, handleInfo->buffer, bytes);
}

/* A WRITE is done: `bytes` bytes are sent, perhaps not all it was to send. */
static LPPER_IO_DATA write_done(DWORD worker, LPPER_HANDLE_DATA handleInfo,
                                DWORD bytes)
{
    WSABUF wsaBuf = handleInfo->writeIo.wsaBuf;

    log_detail("write conn=%llu worker=%lu bytes=%lu", handleInfo->id, worker,
               bytes);
    handleInfo->sent += bytes;
    if (bytes == 0) {
        /* No WRITE is posted for nothing: it can't get on. */
        connection_close(handleInfo, CLOSE_ERROR);
        return NULL;
    }
    if (bytes < wsaBuf.len)
        return connection_write(handleInfo, wsaBuf.buf + bytes,
                                wsaBuf.len - bytes);
    if (registry_stopping())
        return connection_finish(handleInfo);
    return connection_read(handleInfo);
}

static LPPER_IO_DATA succeeded(DWORD worker, LPPER_HANDLE_DATA handleInfo,
                               LPPER_IO_DATA ioInfo, DWORD bytes)
{
    handleInfo->lastActive = (LONG)GetTickCount();
    if (ioInfo->rwMode == WRITE)
        return write_done(worker, handleInfo, bytes);
    if (ioInfo->wsaBuf.len == 0)
        return readable(worker, handleInfo);
    return read_done(worker, handleInfo, bytes);
}

/* An operation failed: this ends its connection, and no other. */
static LPPER_IO_DATA failed(DWORD worker, LPPER_HANDLE_DATA handleInfo,
                            LPPER_IO_DATA ioInfo, DWORD code)
{
    CLOSE_REASON reason = connection_failure(handleInfo);

    log_detail("failed conn=%llu worker=%lu mode=%s code=%lu", handleInfo->id,
               worker, ioInfo->rwMode == READ ? "READ" : "WRITE", code);
    if (reason == CLOSE_STOPPED && ioInfo->rwMode == READ
        && !handleInfo->discarding)
        return connection_finish(handleInfo);  /* between two messages */
    connection_close(handleInfo, reason);
    return NULL;
}

/* --------------------------------- packets ------------------------------- */

/* One operation, which failed if `code` is not NO_ERROR: from here to its next
 * post or its close this thread is alone with the connection. */
static LPPER_IO_DATA handle(const WORKER *worker, LPPER_HANDLE_DATA handleInfo,
                            LPPER_IO_DATA ioInfo, DWORD bytes, DWORD code)
{
    TRACE(trace_packet(handleInfo->id, ioInfo->rwMode == WRITE, bytes, code));
    ioInfo = code == NO_ERROR
                 ? succeeded(worker->id, handleInfo, ioInfo, bytes)
                 : failed(worker->id, handleInfo, ioInfo, code);
    TRACE(trace_waiting());
    return ioInfo;
}

/* --inline: an operation that was done at once. It has no packet, so its
 * connection still belongs to the worker that has this on its stack. */
typedef struct {
    LPPER_HANDLE_DATA handleInfo;
    LPPER_IO_DATA ioInfo;
} DONE;

/* Puts what a post has returned at the end of the list, if it is something.
 * Returns how many it holds then. */
static ULONG add_done(DONE *done, ULONG count, LPPER_HANDLE_DATA handleInfo,
                      LPPER_IO_DATA ioInfo)
{
    if (ioInfo == NULL)
        return count;
    done[count].handleInfo = handleInfo;
    done[count].ioInfo = ioInfo;
    return count + 1;
}

/*
 * Handles the list in rounds of one operation for each connection, until no
 * more is done at once. But not for ever: clients that always have the next
 * message ready would have this worker for themselves, and those in the port's
 * queue wait. After some rounds all go to the end of that queue.
 */
static void handle_done(WORKER *worker, DONE *done, ULONG count)
{
    DWORD round;

    /* InternalHigh holds the bytes transferred where the provider's sockets
     * are the system's handles, and only there is a connection inlined. */
    for (round = 0; count > 0; ++round) {
        ULONG i, left = 0;  /* left <= i: what is put there has been read */

        for (i = 0; i < count; ++i) {
            LPPER_HANDLE_DATA handleInfo = done[i].handleInfo;
            LPPER_IO_DATA ioInfo = done[i].ioInfo;

            if (round >= worker->inlineLimit
                && connection_queue(handleInfo, ioInfo, worker->hComPort))
                continue;
            ++worker->inlined;
            ioInfo = handle(worker, handleInfo, ioInfo,
                            (DWORD)ioInfo->overlapped.InternalHigh, NO_ERROR);
            left = add_done(done, left, handleInfo, ioInfo);
        }
        count = left;
    }
}

/* A packet posted by hand. Key and bytes are what the poster made them;
 * nothing else hangs on it. TRUE if it is a sentinel. */
static BOOL handle_posted(const WORKER *worker, ULONG_PTR key, DWORD bytes)
{
    BOOL sentinel = key == SENTINEL_KEY;

    TRACE(trace_posted(sentinel, bytes));
    if (!sentinel)
        log_detail("posted worker=%lu bytes=%lu", worker->id, bytes);
    TRACE(trace_waiting());
    return sentinel;
}

/* The chapter's call: one packet. FALSE: the worker has to end. */
static BOOL take_packet(WORKER *worker)
{
    DWORD bytesTrans, code;
    ULONG_PTR key;
    LPOVERLAPPED overlapped = NULL;
    BOOL ok = GetQueuedCompletionStatus(worker->hComPort, &bytesTrans, &key,
                                        &overlapped, INFINITE);

    code = ok ? NO_ERROR : GetLastError();
    ++worker->waits;
    if (overlapped != NULL) {
        /* (TRUE, overlapped): the operation succeeded. (FALSE, overlapped): it
         * failed, but this is its packet all the same, and the only one: it
         * has to be consumed. */
        LPPER_HANDLE_DATA handleInfo = (LPPER_HANDLE_DATA)key;
        LPPER_IO_DATA ioInfo = (LPPER_IO_DATA)overlapped;
        DONE done;

        ++worker->completions;
        ioInfo = handle(worker, handleInfo, ioInfo, bytesTrans, code);
        handle_done(worker, &done, add_done(&done, 0, handleInfo, ioInfo));
        return TRUE;
    }
    if (ok)
        /* (TRUE, NULL): a packet posted by hand. */
        return !handle_posted(worker, key, bytesTrans);
    /* (FALSE, NULL): no packet; the wait itself failed, and would fail
     * again. */
    server_worker_lost(worker->id, code);
    return FALSE;
}

/* What became of the operation of a packet in a batch: that the call has
 * succeeded says nothing of each, and where the status is kept is the
 * provider's affair. */
static DWORD operation_code(const PER_HANDLE_DATA *handleInfo,
                            LPPER_IO_DATA ioInfo)
{
    DWORD bytes, flags;

    return WSAGetOverlappedResult(handleInfo->hClntSock, &ioInfo->overlapped,
                                  &bytes, FALSE, &flags)
               ? NO_ERROR
               : (DWORD)WSAGetLastError();
}

/* How many packets to take: no more than this worker's share, as what it has
 * taken the others can't help with. A connection has one packet at most; if
 * there is no connection, the packets are those that were posted by hand. */
static DWORD share(const WORKER *worker)
{
    DWORD live = registry_live();
    DWORD fair = live / worker->workers + 1;

    return live == 0 || fair > worker->batch ? worker->batch : fair;
}

/*
 * --batch: several packets in one call, those that are there already. All are
 * handled, also those behind a sentinel. Of several sentinels this worker
 * needs one; the others are its siblings', who get them back.
 */
static BOOL take_packets(WORKER *worker)
{
    OVERLAPPED_ENTRY entries[MAX_BATCH];
    DONE done[MAX_BATCH];
    ULONG i, count = 0, doneCount = 0;
    DWORD sentinels = 0;

    if (!GetQueuedCompletionStatusEx(worker->hComPort, entries, share(worker),
                                     &count, INFINITE, FALSE)) {
        server_worker_lost(worker->id, GetLastError());
        return FALSE;
    }
    ++worker->waits;
    for (i = 0; i < count; ++i) {
        ULONG_PTR key = entries[i].lpCompletionKey;
        LPPER_HANDLE_DATA handleInfo = (LPPER_HANDLE_DATA)key;
        LPPER_IO_DATA ioInfo = (LPPER_IO_DATA)entries[i].lpOverlapped;
        DWORD bytes = entries[i].dwNumberOfBytesTransferred;

        if (ioInfo == NULL) {
            sentinels += handle_posted(worker, key, bytes) ? 1u : 0u;
            continue;
        }
        ++worker->completions;
        ioInfo = handle(worker, handleInfo, ioInfo, bytes,
                        operation_code(handleInfo, ioInfo));
        doneCount = add_done(done, doneCount, handleInfo, ioInfo);
    }
    handle_done(worker, done, doneCount);
    if (sentinels > 1)
        server_return_sentinels(sentinels - 1);
    return sentinels == 0;
}

/* ------------------------------- the thread ------------------------------ */

unsigned WINAPI EchoThreadMain(LPVOID pWorker)
{
    /* On this thread's own stack while it runs: the WORKERs lie side by side,
     * and counters of two threads in one cache line slow each other down. */
    WORKER worker = *(WORKER *)pWorker;

    TRACE(trace_thread("worker", worker.id));
    while (worker.batch > 1 ? take_packets(&worker) : take_packet(&worker))
        ;
    *(WORKER *)pWorker = worker;
    return 0;
}
