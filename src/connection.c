/* connection.c - open, read, write, close one client. See connection.h. */
#include "connection.h"
#include "log.h"
#include "registry.h"
#include "trace.h"

#include <stddef.h>
#include <stdlib.h>

/* -------------------------------- opening -------------------------------- */

static void set_option(SOCKET sock, int level, int option, const char *call)
{
    int on = 1;

    /* It fails for a client that has already reset the connection: the first
     * READ will find that out, so this is worth a line and no more. */
    if (setsockopt(sock, level, option, (const char *)&on, sizeof on) != 0
        && log_is_verbose())
        log_failure(call, WSAGetLastError(), NULL);
}

static void set_options(SOCKET sock)
{
    /* An echo is one send for one receive. Nagle's algorithm would hold a
     * small one back until the client acknowledges the previous, which the
     * client's delayed ACK postpones by up to 200 ms. */
    set_option(sock, IPPROTO_TCP, TCP_NODELAY, "setsockopt(TCP_NODELAY)");
    /* A peer that lost power or its cable sends no FIN: without probes (after
     * two hours, by default) its connection would stay for ever. */
    set_option(sock, SOL_SOCKET, SO_KEEPALIVE, "setsockopt(SO_KEEPALIVE)");
}

LPPER_HANDLE_DATA connection_open(SOCKET hClntSock,
                                  const SOCKADDR_INET *clntAdr,
                                  ULONGLONG id, HANDLE hComPort)
{
    LPPER_HANDLE_DATA handleInfo = malloc(sizeof *handleInfo);

    if (handleInfo == NULL) {
        log_error("conn=%llu dropped: out of memory", id);
        if (closesocket(hClntSock) != 0)
            log_failure("closesocket", WSAGetLastError(), NULL);
        return NULL;
    }
    ZeroMemory(handleInfo, offsetof(PER_HANDLE_DATA, buffer));
    handleInfo->hClntSock = hClntSock;
    handleInfo->clntAdr = *clntAdr;
    handleInfo->id = id;
    handleInfo->lastActive = (LONG)GetTickCount();
    handleInfo->readIo.rwMode = READ;
    handleInfo->writeIo.rwMode = WRITE;
    set_options(hClntSock);
    TRACE(trace_accepted(handleInfo));
    registry_add(handleInfo);
    /* The key is ULONG_PTR, as wide as a pointer. The chapter's (DWORD) cast
     * cuts a 64-bit address in half. */
    if (CreateIoCompletionPort((HANDLE)hClntSock, hComPort,
                               (ULONG_PTR)handleInfo, 0) == NULL) {
        log_failure("CreateIoCompletionPort (associate)",
                    (int)GetLastError(), NULL);
        connection_close(handleInfo, CLOSE_ERROR);
        return NULL;
    }
    return handleInfo;
}

/* -------------------------------- posting -------------------------------- */

/*
 * The one place that posts. Three outcomes: done at once, pending, failed. The
 * first two are the same here, because a packet comes for both; for a failure
 * none comes, so nobody else will ever hear of this operation, and the caller,
 * still the owner, retires the connection. Once.
 */
static void post(LPPER_HANDLE_DATA handleInfo, LPPER_IO_DATA ioInfo)
{
    DWORD flags = 0;  /* WSARecv reads it, and writes it only if done at once */
    int result, code;

    ZeroMemory(&ioInfo->overlapped, sizeof ioInfo->overlapped);
    TRACE(trace_post(handleInfo->id, ioInfo->rwMode, ioInfo->wsaBuf.len));
    if (ioInfo->rwMode == READ)
        result = WSARecv(handleInfo->hClntSock, &ioInfo->wsaBuf, 1, NULL,
                         &flags, &ioInfo->overlapped, NULL);
    else
        result = WSASend(handleInfo->hClntSock, &ioInfo->wsaBuf, 1, NULL, 0,
                         &ioInfo->overlapped, NULL);
    if (result == 0 || (code = WSAGetLastError()) == WSA_IO_PENDING)
        return;  /* handleInfo may be gone already: no touching it here */
    TRACE(trace_post_failed(handleInfo->id, ioInfo->rwMode, code));
    log_detail("failed conn=%llu mode=%s code=%d at-once=1", handleInfo->id,
               ioInfo->rwMode == READ ? "READ" : "WRITE", code);
    connection_close(handleInfo, connection_failure(handleInfo));
}

void connection_read(LPPER_HANDLE_DATA handleInfo)
{
    LPPER_IO_DATA ioInfo = &handleInfo->readIo;

    /* Always the whole buffer, however short the READ before was. */
    ioInfo->wsaBuf.buf = handleInfo->buffer;
    ioInfo->wsaBuf.len = BUF_SIZE;
    post(handleInfo, ioInfo);
}

void connection_write(LPPER_HANDLE_DATA handleInfo, char *data, DWORD bytes)
{
    LPPER_IO_DATA ioInfo = &handleInfo->writeIo;

    ioInfo->wsaBuf.buf = data;
    ioInfo->wsaBuf.len = bytes;
    post(handleInfo, ioInfo);
}

/* -------------------------------- closing -------------------------------- */

void connection_close(LPPER_HANDLE_DATA handleInfo, CLOSE_REASON reason)
{
    static const char *const names[] = {"eof", "error", "idle", "stopped"};
    DWORD live;

    TRACE(trace_closing(handleInfo, names[reason]));
    /* Off the list first: who holds the registry's lock may use the socket of
     * every connection listed. After this nobody else knows of it, and it has
     * no operation outstanding (its last packet brought us here, or its post
     * failed), so the socket can be closed and the memory freed. */
    live = registry_remove(handleInfo, reason == CLOSE_ERROR);
    if (closesocket(handleInfo->hClntSock) != 0)
        log_failure("closesocket", WSAGetLastError(), NULL);
    log_detail("close conn=%llu reason=%s received=%llu sent=%llu live=%lu",
               handleInfo->id, names[reason], handleInfo->received,
               handleInfo->sent, live);
    free(handleInfo);
}

BOOL connection_shutdown(LPPER_HANDLE_DATA handleInfo)
{
    if (shutdown(handleInfo->hClntSock, SD_SEND) == 0)
        return TRUE;
    log_detail("shutdown conn=%llu code=%d", handleInfo->id,
               WSAGetLastError());
    return FALSE;
}

void connection_finish(LPPER_HANDLE_DATA handleInfo)
{
    /* A closed socket answers bytes that were not read, or still come, with a
     * reset; and a reset overtakes the echo that is on its way to the client:
     * what was received and sent would be lost all the same. */
    handleInfo->lastActive = (LONG)GetTickCount();
    if (connection_shutdown(handleInfo) && registry_discard(handleInfo))
        connection_read(handleInfo);
    else
        connection_close(handleInfo, CLOSE_STOPPED);
}

CLOSE_REASON connection_failure(const PER_HANDLE_DATA *handleInfo)
{
    /* By our own state, never by the error code. For a cancelled receive that
     * is ERROR_OPERATION_ABORTED on one system, ERROR_NETNAME_DELETED or
     * another one elsewhere. */
    if (registry_stopping())
        return CLOSE_STOPPED;
    if (handleInfo->expired)
        return CLOSE_IDLE;
    return CLOSE_ERROR;
}
