/* connection.c - open, read, write, close one client. See connection.h. */
#include "connection.h"
#include "log.h"
#include "trace.h"

#include <stdlib.h>

/* A WRITE has one idle timeout for each part of this many bytes: a client that
 * takes them slowly is not idle. */
#define BYTES_PER_TIMEOUT 65536u

/* ms that a READ may keep a larger buffer while nothing comes. */
#define SILENCE 1000u

/* -------------------------------- opening -------------------------------- */

static void report_dropped(void)
{
    log_failure(ERROR_NOT_ENOUGH_MEMORY, "a client was dropped",
                "allocating memory");
}

LPPER_HANDLE_DATA connection_open(SERVER *server, SOCKET hClntSock,
                                  const SOCKADDR_INET *clntAdr, ULONGLONG id)
{
    LPPER_HANDLE_DATA handleInfo = calloc(1, sizeof *handleInfo);
    char peer[ADDRESS_TEXT];
    LONG live;

    if (handleInfo == NULL) {
        report_dropped();
        log_unless(closesocket(hClntSock) == 0, "closesocket");
        return NULL;
    }
    handleInfo->hClntSock = hClntSock;
    handleInfo->clntAdr = *clntAdr;
    handleInfo->id = id;
    handleInfo->server = server;
    handleInfo->writeIo.rwMode = WRITE;
    /* From here on the sweeps see it. */
    live = registry_add(&server->registry, &handleInfo->entry, id, hClntSock,
                        &handleInfo->readIo.overlapped);
    TRACE(trace_accepted(id, clntAdr));
    log_detail("accept conn=%llu peer=%s live=%ld", id,
               log_address(clntAdr, peer), live);
    /* The key is ULONG_PTR, as wide as a pointer. The chapter's (DWORD) cast
     * cuts a 64-bit address in half. */
    if (log_unless(CreateIoCompletionPort((HANDLE)hClntSock, server->hComPort,
                                          (ULONG_PTR)handleInfo, 0)
                       != NULL,
                   "CreateIoCompletionPort (associate)"))
        return handleInfo;
    connection_close(handleInfo, CLOSE_ERROR);
    return NULL;
}

/* -------------------------------- posting -------------------------------- */

/* --inline: the operation is done and no packet comes. The caller still owns
 * the connection, and finds it in its list: see batch.c. */
static void add_done(LPPER_HANDLE_DATA *list, LPPER_HANDLE_DATA handleInfo,
                     LPPER_IO_DATA ioInfo)
{
    handleInfo->doneIo = ioInfo;
    handleInfo->nextDone = *list;
    *list = handleInfo;
}

const char *connection_mode(const PER_IO_DATA *ioInfo)
{
    return ioInfo->rwMode == READ ? "READ" : "WRITE";
}

/*
 * The one place that posts. The operation may take `milliseconds` (0: for
 * ever); `lent` is for registry_set_deadline. Once the connection discards,
 * registry_discard has set its time. Done at once and pending are the same: a
 * packet comes, for whichever worker takes it. Any other result is a failure
 * without a packet: this closes the connection.
 */
static void post(LPPER_HANDLE_DATA handleInfo, LPPER_IO_DATA ioInfo,
                 DWORD milliseconds, BOOL lent)
{
    LPPER_HANDLE_DATA *done = handleInfo->done;  /* needed after the post */
    const char *mode = connection_mode(ioInfo);
    DWORD flags = 0;  /* WSARecv reads it, and writes it only if done at once */
    int result, code;

    ZeroMemory(&ioInfo->overlapped, sizeof ioInfo->overlapped);
    /* Without an idle timeout there is nothing to set, in nearly every echo. */
    if (!handleInfo->entry.discarding
        && (milliseconds != 0 || handleInfo->entry.deadline != 0))
        registry_set_deadline(&handleInfo->entry, milliseconds, lent);
    TRACE(trace_post(handleInfo->id, mode, ioInfo->wsaBuf.len));
    if (ioInfo->rwMode == READ)
        result = WSARecv(handleInfo->hClntSock, &ioInfo->wsaBuf, 1, NULL,
                         &flags, &ioInfo->overlapped, NULL);
    else
        result = WSASend(handleInfo->hClntSock, &ioInfo->wsaBuf, 1, NULL, 0,
                         &ioInfo->overlapped, NULL);
    if (result == 0 && done != NULL)
        add_done(done, handleInfo, ioInfo);
    if (result == 0 || (code = WSAGetLastError()) == WSA_IO_PENDING)
        return;  /* handleInfo may be gone already: don't touch it */
    TRACE(trace_post_failed(handleInfo->id, mode, (DWORD)code));
    log_detail("failed conn=%llu mode=%s code=%d at-once=1", handleInfo->id,
               mode, code);
    connection_close(handleInfo, CLOSE_ERROR);
}

void connection_read(LPPER_HANDLE_DATA handleInfo, BOOL announced)
{
    SERVER *server = handleInfo->server;
    BUFFER *buffer = &handleInfo->buffer;
    /* After our FIN nothing is written, so writeIo is free. A sweep that saw
     * the connection before that cancels readIo, and does not hit this READ. */
    LPPER_IO_DATA ioInfo = handleInfo->entry.discarding ? &handleInfo->writeIo
                                                        : &handleInfo->readIo;

    if (!buffer_prepare(&server->buffers, buffer, announced)) {
        report_dropped();
        connection_close(handleInfo, CLOSE_ERROR);
        return;
    }
    /* Always the whole buffer, however short the last READ was. Without a
     * buffer this is a READ of zero bytes. */
    ioInfo->wsaBuf.buf = buffer->data;
    ioInfo->wsaBuf.len = buffer->size;
    ioInfo->rwMode = READ;
    if (buffer->size > BUF_SIZE)
        post(handleInfo, ioInfo, SILENCE, TRUE);
    else
        post(handleInfo, ioInfo, server->options.idleTimeout, FALSE);
}

void connection_write(LPPER_HANDLE_DATA handleInfo, char *data, DWORD bytes)
{
    DWORD timeouts = (bytes - 1) / BYTES_PER_TIMEOUT + 1;

    handleInfo->writeIo.wsaBuf.buf = data;
    handleInfo->writeIo.wsaBuf.len = bytes;
    post(handleInfo, &handleInfo->writeIo,
         timeouts * handleInfo->server->options.idleTimeout, FALSE);
}

/* -------------------------------- closing -------------------------------- */

/* Tells the peer that no more bytes come (FIN). Returns FALSE if it is gone. */
static BOOL send_fin(LPPER_HANDLE_DATA handleInfo)
{
    if (shutdown(handleInfo->hClntSock, SD_SEND) == 0)
        return TRUE;
    log_detail("shutdown conn=%llu code=%d", handleInfo->id,
               WSAGetLastError());
    return FALSE;
}

void connection_close(LPPER_HANDLE_DATA handleInfo, CLOSE_REASON reason)
{
    static const char *const names[] = {"eof", "error", "idle", "stopped"};
    LONG live;

    if (reason == CLOSE_EOF)
        send_fin(handleInfo);
    /* Decides by our own state, never by the error code: a cancelled receive
     * gives ERROR_OPERATION_ABORTED on one system, ERROR_NETNAME_DELETED or
     * something else on another. */
    if (reason == CLOSE_ERROR && stop_begun(&handleInfo->server->stop))
        reason = CLOSE_STOPPED;
    else if (reason == CLOSE_ERROR && registry_is_late(&handleInfo->entry))
        reason = CLOSE_IDLE;
    TRACE(trace_closing(handleInfo->id, names[reason], handleInfo->received,
                        handleInfo->sent));
    /* Off the list first: whoever holds the registry's lock may use the socket
     * of any listed connection. After this no other thread knows of this one,
     * and it has no operation outstanding (its last packet brought us here, or
     * its post failed), so the socket can be closed and the memory freed. */
    live = registry_remove(&handleInfo->entry, handleInfo->received,
                           handleInfo->sent, reason == CLOSE_ERROR);
    log_unless(closesocket(handleInfo->hClntSock) == 0, "closesocket");
    log_detail("close conn=%llu reason=%s received=%llu sent=%llu live=%ld",
               handleInfo->id, names[reason], handleInfo->received,
               handleInfo->sent, live);
    echo_closed(&handleInfo->echo);
    buffer_return(&handleInfo->server->buffers, &handleInfo->buffer);
    free(handleInfo);
}

void connection_failed(LPPER_HANDLE_DATA handleInfo, const PER_IO_DATA *ioInfo)
{
    REGISTRY_ENTRY *entry = &handleInfo->entry;
    BOOL isRead = ioInfo->rwMode == READ;

    if (isRead && stop_begun(&handleInfo->server->stop)
        && !entry->discarding) {
        connection_finish(handleInfo);  /* between two messages */
    } else if (isRead && entry->deadline == RECLAIMED) {
        handleInfo->buffer.wanted = 0;
        connection_read(handleInfo, FALSE);
    } else {
        connection_close(handleInfo, CLOSE_ERROR);
    }
}

void connection_finish(LPPER_HANDLE_DATA handleInfo)
{
    /* A closed socket answers bytes that were not read, or still come, with a
     * reset, which can overtake the echo that is on its way to the client, and
     * destroy it. So this reads on as long as the drain lasts. It asks each
     * time: if data never runs out, every READ is done at once, and no sweep
     * finds it. */
    if ((handleInfo->entry.discarding || send_fin(handleInfo))
        && registry_discard(&handleInfo->entry))
        connection_read(handleInfo, FALSE);
    else
        connection_close(handleInfo, CLOSE_STOPPED);
}
