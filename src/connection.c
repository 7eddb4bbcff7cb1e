/* connection.c - open, read, write, close one client. See connection.h. */
#include "connection.h"
#include "address.h"
#include "log.h"
#include "trace.h"

#include <stdio.h>
#include <stdlib.h>

/* A WRITE is given the idle timeout once for each so many bytes: a client that
 * takes them slowly, but takes them, is not idle. */
#define BYTES_PER_TIMEOUT 65536u

/* -------------------------------- opening -------------------------------- */

static void report_dropped(ULONGLONG id)
{
    char what[48];

    snprintf(what, sizeof what, "conn=%llu was dropped", id);
    log_failure("allocating memory", ERROR_NOT_ENOUGH_MEMORY, what);
}

static LPPER_HANDLE_DATA allocate(BUFFERS *buffers)
{
    /* Its own small buffer, if it has one, lies behind it. */
    DWORD own = buffers->lendsAll ? 0 : BUF_SIZE;
    LPPER_HANDLE_DATA handleInfo = malloc(sizeof *handleInfo + own);

    if (handleInfo == NULL)
        return NULL;
    ZeroMemory(handleInfo, sizeof *handleInfo);
    handleInfo->buffers = buffers;
    handleInfo->buffer.own = own != 0 ? (char *)(handleInfo + 1) : NULL;
    buffer_return(buffers, &handleInfo->buffer);
    handleInfo->readIo.rwMode = READ;
    handleInfo->writeIo.rwMode = WRITE;
    return handleInfo;
}

/* From here on the sweeps see it. */
static void enlist(LPPER_HANDLE_DATA handleInfo, REGISTRY *registry)
{
    char peer[ADDRESS_TEXT];
    LONG live;

    handleInfo->entry.registry = registry;
    handleInfo->entry.id = handleInfo->id;
    handleInfo->entry.sock = handleInfo->hClntSock;
    handleInfo->entry.receive = &handleInfo->readIo.overlapped;
    live = registry_add(&handleInfo->entry);
    TRACE(trace_accepted(handleInfo->id, &handleInfo->clntAdr));
    if (log_is_verbose()) {
        u_short port = address_text(&handleInfo->clntAdr, peer);

        log_detail("accept conn=%llu peer=%s:%u live=%ld", handleInfo->id,
                   peer, port, live);
    }
}

LPPER_HANDLE_DATA connection_open(REGISTRY *registry, BUFFERS *buffers,
                                  HANDLE hComPort, SOCKET hClntSock,
                                  const SOCKADDR_INET *clntAdr, ULONGLONG id)
{
    LPPER_HANDLE_DATA handleInfo = allocate(buffers);

    if (handleInfo == NULL) {
        report_dropped(id);
        log_unless(closesocket(hClntSock) == 0, "closesocket");
        return NULL;
    }
    handleInfo->hClntSock = hClntSock;
    handleInfo->clntAdr = *clntAdr;
    handleInfo->id = id;
    enlist(handleInfo, registry);
    /* The key is ULONG_PTR, as wide as a pointer. The chapter's (DWORD) cast
     * cuts a 64-bit address in half. */
    if (log_unless(CreateIoCompletionPort((HANDLE)hClntSock, hComPort,
                                          (ULONG_PTR)handleInfo, 0)
                       != NULL,
                   "CreateIoCompletionPort (associate)"))
        return handleInfo;
    connection_close(handleInfo, CLOSE_ERROR);
    return NULL;
}

/* -------------------------------- posting -------------------------------- */

/* --inline: the operation is done and no packet comes. The caller still owns the
 * connection, and finds it in its list: see batch.c. */
static void add_done(LPPER_HANDLE_DATA *list, LPPER_HANDLE_DATA handleInfo,
                     LPPER_IO_DATA ioInfo)
{
    handleInfo->doneIo = ioInfo;
    handleInfo->nextDone = *list;
    *list = handleInfo;
}

/* How many idle timeouts an operation is given. */
static DWORD timeouts(const PER_IO_DATA *ioInfo)
{
    return ioInfo->rwMode == READ
               ? 1
               : (ioInfo->wsaBuf.len - 1) / BYTES_PER_TIMEOUT + 1;
}

/*
 * The one place that posts. Done at once and pending are the same: a packet
 * comes, for whichever worker takes it. Any other failure gives no packet, so
 * the connection is closed here.
 */
static void post(LPPER_HANDLE_DATA handleInfo, LPPER_IO_DATA ioInfo)
{
    LPPER_HANDLE_DATA *done = handleInfo->done;  /* to know it after the post */
    DWORD flags = 0;  /* WSARecv reads it, and writes it only if done at once */
    int result, code;

    ZeroMemory(&ioInfo->overlapped, sizeof ioInfo->overlapped);
    registry_set_deadline(&handleInfo->entry, timeouts(ioInfo));
    TRACE(trace_post(handleInfo->id, ioInfo->rwMode == WRITE,
                     ioInfo->wsaBuf.len));
    if (ioInfo->rwMode == READ)
        result = WSARecv(handleInfo->hClntSock, &ioInfo->wsaBuf, 1, NULL,
                         &flags, &ioInfo->overlapped, NULL);
    else
        result = WSASend(handleInfo->hClntSock, &ioInfo->wsaBuf, 1, NULL, 0,
                         &ioInfo->overlapped, NULL);
    if (result == 0 && done != NULL)
        add_done(done, handleInfo, ioInfo);
    if (result == 0 || (code = WSAGetLastError()) == WSA_IO_PENDING)
        return;  /* handleInfo may be gone already: no touching it here */
    TRACE(trace_post_failed(handleInfo->id, ioInfo->rwMode == WRITE,
                            (DWORD)code));
    log_detail("failed conn=%llu mode=%s code=%d at-once=1", handleInfo->id,
               ioInfo->rwMode == READ ? "READ" : "WRITE", code);
    connection_close(handleInfo, connection_failure(handleInfo));
}

void connection_read(LPPER_HANDLE_DATA handleInfo, BOOL announced)
{
    BUFFER *buffer = &handleInfo->buffer;

    if (!buffer_prepare(handleInfo->buffers, buffer, announced)) {
        report_dropped(handleInfo->id);
        connection_close(handleInfo, CLOSE_ERROR);
        return;
    }
    /* Always the whole buffer, however short the READ before was. */
    handleInfo->readIo.wsaBuf.buf = buffer->data;
    handleInfo->readIo.wsaBuf.len = buffer->size;
    post(handleInfo, &handleInfo->readIo);
}

void connection_write(LPPER_HANDLE_DATA handleInfo, char *data, DWORD bytes)
{
    handleInfo->writeIo.wsaBuf.buf = data;
    handleInfo->writeIo.wsaBuf.len = bytes;
    post(handleInfo, &handleInfo->writeIo);
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
    TRACE(trace_closing(handleInfo->id, names[reason], handleInfo->received,
                        handleInfo->sent));
    /* Off the list first: who holds the registry's lock may use the socket of
     * every connection listed. After this no other thread knows of it, and it
     * has no operation outstanding (its last packet brought us here, or its
     * post failed), so the socket can be closed and the memory freed. */
    live = registry_remove(&handleInfo->entry, handleInfo->received,
                           handleInfo->sent, reason == CLOSE_ERROR);
    log_unless(closesocket(handleInfo->hClntSock) == 0, "closesocket");
    log_detail("close conn=%llu reason=%s received=%llu sent=%llu live=%ld",
               handleInfo->id, names[reason], handleInfo->received,
               handleInfo->sent, live);
    echo_closed(&handleInfo->echo);
    buffer_return(handleInfo->buffers, &handleInfo->buffer);
    free(handleInfo);
}

void connection_finish(LPPER_HANDLE_DATA handleInfo)
{
    BOOL again = handleInfo->entry.discarding;

    /* A closed socket answers bytes that were not read, or still come, with a
     * reset; and a reset overtakes the echo that is on its way to the client:
     * what was received and sent would be lost all the same. So this reads on
     * as long as the drain lasts. That is asked each time: where data never runs
     * out, every READ is done at once, and no sweep finds one to cancel. */
    if ((again || send_fin(handleInfo))
        && registry_discard(&handleInfo->entry))
        connection_read(handleInfo, FALSE);
    else
        connection_close(handleInfo, CLOSE_STOPPED);
}

CLOSE_REASON connection_failure(const PER_HANDLE_DATA *handleInfo)
{
    /* By our own state, never by the error code. For a cancelled receive that
     * is ERROR_OPERATION_ABORTED on one system, ERROR_NETNAME_DELETED or
     * another one elsewhere. */
    if (stop_begun(handleInfo->entry.registry->stop))
        return CLOSE_STOPPED;
    return registry_expired(&handleInfo->entry) ? CLOSE_IDLE : CLOSE_ERROR;
}
