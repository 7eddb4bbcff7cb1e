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
 */
#include "worker.h"
#include "connection.h"
#include "log.h"
#include "registry.h"
#include "server.h"
#include "trace.h"
#include "work.h"

/* ---------------------------- the state machine -------------------------- */

/* A READ is done: `bytes` bytes are in the buffer; 0 is the end of file. */
static void read_done(DWORD worker, LPPER_HANDLE_DATA handleInfo, DWORD bytes)
{
    log_detail("%s conn=%llu worker=%lu bytes=%lu",
               handleInfo->discarding ? "discard" : "read", handleInfo->id,
               worker, bytes);
    if (handleInfo->discarding) {
        /* The server stops, and this one only waits for its client to close.
         * May it still? Asked anew each time: where data never runs out, every
         * READ is done at once, and there is none for the sweep to cancel. */
        if (bytes > 0 && registry_discard(handleInfo))
            connection_read(handleInfo);
        else
            connection_close(handleInfo, CLOSE_STOPPED);
    } else if (bytes == 0) {
        /* All that came before has been echoed: this READ was posted only
         * after the last WRITE was done. */
        connection_shutdown(handleInfo);
        connection_close(handleInfo, CLOSE_EOF);
    } else {
        handleInfo->received += bytes;
        work_do(handleInfo->id);
        connection_write(handleInfo, handleInfo->buffer, bytes);
    }
}

/* A WRITE is done: `bytes` bytes are sent, perhaps not all it was to send. */
static void write_done(DWORD worker, LPPER_HANDLE_DATA handleInfo, DWORD bytes)
{
    WSABUF wsaBuf = handleInfo->writeIo.wsaBuf;

    log_detail("write conn=%llu worker=%lu bytes=%lu", handleInfo->id, worker,
               bytes);
    handleInfo->sent += bytes;
    if (bytes == 0)
        /* No WRITE is posted for nothing: it can't get on. */
        connection_close(handleInfo, CLOSE_ERROR);
    else if (bytes < wsaBuf.len)
        connection_write(handleInfo, wsaBuf.buf + bytes, wsaBuf.len - bytes);
    else if (registry_stopping())
        connection_finish(handleInfo);
    else
        connection_read(handleInfo);
}

/* An operation failed: this ends its connection, and no other. */
static void failed(DWORD worker, LPPER_HANDLE_DATA handleInfo,
                   LPPER_IO_DATA ioInfo, DWORD code)
{
    CLOSE_REASON reason = connection_failure(handleInfo);

    log_detail("failed conn=%llu worker=%lu mode=%s code=%lu", handleInfo->id,
               worker, ioInfo->rwMode == READ ? "READ" : "WRITE", code);
    if (reason == CLOSE_STOPPED && ioInfo->rwMode == READ
        && !handleInfo->discarding)
        connection_finish(handleInfo);  /* cancelled between two messages */
    else
        connection_close(handleInfo, reason);
}

static void succeeded(DWORD worker, LPPER_HANDLE_DATA handleInfo,
                      LPPER_IO_DATA ioInfo, DWORD bytesTrans)
{
    handleInfo->lastActive = (LONG)GetTickCount();
    if (ioInfo->rwMode == READ)
        read_done(worker, handleInfo, bytesTrans);
    else
        write_done(worker, handleInfo, bytesTrans);
}

/* ------------------------------- the thread ------------------------------ */

unsigned WINAPI EchoThreadMain(LPVOID pWorker)
{
    WORKER *worker = pWorker;
    ULONGLONG completions = 0;  /* a local: the WORKERs lie side by side, and
                                   counters in one cache line slow each other
                                   down */

    TRACE(trace_thread(worker->id));
    for (;;) {
        DWORD bytesTrans, code;
        ULONG_PTR key;
        LPOVERLAPPED overlapped = NULL;
        LPPER_HANDLE_DATA handleInfo;
        LPPER_IO_DATA ioInfo;
        BOOL ok;

        TRACE(trace_waiting());
        ok = GetQueuedCompletionStatus(worker->hComPort, &bytesTrans, &key,
                                       &overlapped, INFINITE);
        code = ok ? NO_ERROR : GetLastError();
        if (overlapped == NULL) {
            if (!ok) {
                /* (FALSE, NULL): no packet; the wait itself failed, and would
                 * fail again. */
                server_worker_lost(worker->id, code);
                break;
            }
            /* (TRUE, NULL): a packet posted by hand. Key and bytes are what
             * the poster made them; nothing else hangs on it. */
            TRACE(trace_posted(key == SENTINEL_KEY, bytesTrans));
            if (key == SENTINEL_KEY)
                break;
            log_detail("posted worker=%lu bytes=%lu", worker->id, bytesTrans);
            continue;
        }

        /* A packet of an operation: from here to its next post or its close
         * this thread is alone with the connection. */
        ++completions;
        handleInfo = (LPPER_HANDLE_DATA)key;
        ioInfo = (LPPER_IO_DATA)overlapped;
        TRACE(trace_packet(handleInfo->id, ioInfo->rwMode, bytesTrans, code));
        if (ok)
            /* (TRUE, overlapped): the operation succeeded. */
            succeeded(worker->id, handleInfo, ioInfo, bytesTrans);
        else
            /* (FALSE, overlapped): it failed, but this is its packet all the
             * same, and the only one: it has to be consumed. */
            failed(worker->id, handleInfo, ioInfo, code);
    }
    TRACE(trace_waiting());  /* its last packet is over too */
    worker->completions = completions;
    return 0;
}
