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
 * or with the end of the connection. Then the connection is no longer this
 * worker's.
 */
#include "worker.h"
#include "log.h"
#include "pool.h"
#include "trace.h"
#include "work.h"

/* ---------------------------- the state machine -------------------------- */

static void say(const WORKER *worker, LPPER_HANDLE_DATA handleInfo,
                const char *what, DWORD bytes)
{
    log_detail("%s conn=%llu worker=%lu bytes=%lu", what, handleInfo->id,
               worker->id, bytes);
}

/* Asks the service for an answer and sends it. `bytes` bytes are new; with 0
 * the service continues its last answer, or the client has sent all. */
static void answer(LPPER_HANDLE_DATA handleInfo, DWORD bytes)
{
    BUFFER *buffer = &handleInfo->buffer;
    DWORD length = (DWORD)echo_answer(&handleInfo->echo, buffer->data, bytes,
                                      buffer->size);

    if (length > 0)
        connection_write(handleInfo, buffer->data, length);
    else if (handleInfo->echo.ended)
        /* Everything has been answered: a READ is posted only after the last
         * WRITE is done. */
        connection_close(handleInfo, CLOSE_EOF);
    else
        connection_read(handleInfo, FALSE);
}

/* A READ is done: `bytes` bytes are in the buffer; 0 is the end of file. */
static void read_done(const WORKER *worker, LPPER_HANDLE_DATA handleInfo,
                      DWORD bytes)
{
    say(worker, handleInfo, "read", bytes);
    handleInfo->received += bytes;
    buffer_received(&handleInfo->server->buffers, &handleInfo->buffer, bytes);
    if (bytes > 0)
        work_do(&worker->server->options, &worker->server->stop);
    else
        handleInfo->echo.ended = TRUE;
    answer(handleInfo, bytes);
}

/* A WRITE is done: `bytes` bytes are sent, perhaps fewer than it had. */
static void write_done(const WORKER *worker, LPPER_HANDLE_DATA handleInfo,
                       DWORD bytes)
{
    WSABUF wsaBuf = handleInfo->writeIo.wsaBuf;

    say(worker, handleInfo, "write", bytes);
    handleInfo->sent += bytes;
    if (bytes == 0)
        /* Every WRITE has bytes to send: this one made no progress. */
        connection_close(handleInfo, CLOSE_ERROR);
    else if (bytes < wsaBuf.len)
        connection_write(handleInfo, wsaBuf.buf + bytes, wsaBuf.len - bytes);
    else if (handleInfo->echo.more || handleInfo->echo.ended)
        answer(handleInfo, 0);
    else if (stop_begun(&worker->server->stop))
        connection_finish(handleInfo);
    else
        connection_read(handleInfo, FALSE);
}

static void succeeded(const WORKER *worker, LPPER_HANDLE_DATA handleInfo,
                      LPPER_IO_DATA ioInfo, DWORD bytes)
{
    if (ioInfo->rwMode == WRITE) {
        write_done(worker, handleInfo, bytes);
    } else if (ioInfo->wsaBuf.len == 0) {
        /* --zero-byte-recv: there is something to receive, or the end of file,
         * or a failure. The next READ tells which, and does not wait. */
        say(worker, handleInfo, "readable", bytes);
        connection_read(handleInfo, TRUE);
    } else if (!handleInfo->entry.discarding) {
        read_done(worker, handleInfo, bytes);
    } else {
        say(worker, handleInfo, "discard", bytes);
        if (bytes > 0)
            connection_finish(handleInfo);
        else
            connection_close(handleInfo, CLOSE_STOPPED);
    }
}

/* An operation failed, or a sweep cancelled it: no other connection ends. */
static void failed(const WORKER *worker, LPPER_HANDLE_DATA handleInfo,
                   LPPER_IO_DATA ioInfo, DWORD code)
{
    log_detail("failed conn=%llu worker=%lu mode=%s code=%lu", handleInfo->id,
               worker->id, connection_mode(ioInfo), code);
    connection_failed(handleInfo, ioInfo);
}

/* --------------------------------- packets ------------------------------- */

/* Handles an operation's packet. From here to the next post or the close this
 * thread is alone with the connection. */
static void handle(WORKER *worker, LPPER_HANDLE_DATA handleInfo,
                   LPPER_IO_DATA ioInfo, DWORD bytes, DWORD code)
{
    ++worker->completions;
    TRACE(trace_packet(handleInfo->id, connection_mode(ioInfo), bytes, code));
    if (code == NO_ERROR)
        succeeded(worker, handleInfo, ioInfo, bytes);
    else
        failed(worker, handleInfo, ioInfo, code);
    TRACE(trace_waiting());
}

/* Waits for one packet and handles it. Returns FALSE if the worker must end. */
static BOOL take_packet(WORKER *worker)
{
    DWORD bytesTrans;
    ULONG_PTR key;
    LPOVERLAPPED overlapped = NULL;
    BOOL ok = worker->take != NULL
                  ? worker->take(worker->from, &bytesTrans, &key, &overlapped)
                  : GetQueuedCompletionStatus(worker->server->hComPort,
                                              &bytesTrans, &key, &overlapped,
                                              INFINITE);

    if (overlapped != NULL) {
        /* (TRUE, overlapped): the operation succeeded. (FALSE, overlapped): it
         * failed, but this is its packet, and the only one: it must be
         * handled too. */
        handle(worker, (LPPER_HANDLE_DATA)key, (LPPER_IO_DATA)overlapped,
               bytesTrans, ok ? NO_ERROR : GetLastError());
        return TRUE;
    }
    /* (FALSE, NULL): the wait itself failed. With INFINITE that is no timeout,
     * and it would fail again. */
    fatal_unless(ok, "GetQueuedCompletionStatus");
    /* (TRUE, NULL): a packet posted by hand. The poster chose its key and
     * bytes; they belong to no connection. */
    TRACE(trace_posted(key == SENTINEL_KEY, bytesTrans));
    if (key != SENTINEL_KEY)
        log_detail("posted worker=%lu bytes=%lu", worker->id, bytesTrans);
    TRACE(trace_waiting());
    return key != SENTINEL_KEY;
}

/* ------------------------------- the thread ------------------------------ */

unsigned WINAPI EchoThreadMain(LPVOID pWorker)
{
    /* A copy on this thread's own stack: the WORKERs lie side by side, and
     * counters of two threads in one cache line slow each other down. */
    WORKER worker = *(WORKER *)pWorker;

    TRACE(trace_thread("worker", worker.id));
    while (take_packet(&worker))
        ;
    *(WORKER *)pWorker = worker;
    return 0;
}
