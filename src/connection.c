/* connection.c - open, read, write, close one client. See connection.h. */
#include "connection.h"
#include "listener.h"
#include "log.h"
#include "registry.h"
#include "trace.h"

#include <stdlib.h>

/* So many READs in a row that a small buffer would have held, and the large
 * one goes back. */
#define SMALL_READS 8

/* Written before the first connection, only read after that. */
static BOOL zeroByte;
static BOOL skipsPackets;

void connection_configure(BOOL zeroByteRecv, BOOL inlined)
{
    zeroByte = zeroByteRecv;
    skipsPackets = inlined;
}

/* -------------------------------- opening -------------------------------- */

/* Whether the system does without the packet of an operation on this socket
 * that is done at once. */
static BOOL skip_packets(SOCKET sock)
{
    static BOOL told = FALSE;  /* main alone gets here */

    if (SetFileCompletionNotificationModes(
            (HANDLE)sock, FILE_SKIP_COMPLETION_PORT_ON_SUCCESS))
        return TRUE;
    if (!told)
        log_failure("SetFileCompletionNotificationModes", (int)GetLastError(),
                    "--inline is not for such connections");
    told = TRUE;
    return FALSE;
}

/* The small buffer that lies behind the connection. With --zero-byte-recv
 * there is none. */
static char *own_buffer(LPPER_HANDLE_DATA handleInfo)
{
    return zeroByte ? NULL : (char *)(handleInfo + 1);
}

static void trace_accept(const PER_HANDLE_DATA *handleInfo)
{
    char text[ADDRESS_TEXT];
    u_short port = address_text(&handleInfo->clntAdr, text);

    trace_accepted(handleInfo->id, text, port);
}

LPPER_HANDLE_DATA connection_open(SOCKET hClntSock,
                                  const SOCKADDR_INET *clntAdr, ULONGLONG id,
                                  HANDLE hComPort)
{
    LPPER_HANDLE_DATA handleInfo = malloc(sizeof *handleInfo
                                          + (zeroByte ? 0 : BUF_SIZE));

    if (handleInfo == NULL) {
        log_error("conn=%llu dropped: out of memory", id);
        if (closesocket(hClntSock) != 0)
            log_failure("closesocket", WSAGetLastError(), NULL);
        return NULL;
    }
    ZeroMemory(handleInfo, sizeof *handleInfo);
    handleInfo->hClntSock = hClntSock;
    handleInfo->clntAdr = *clntAdr;
    handleInfo->id = id;
    handleInfo->lastActive = (LONG)GetTickCount();
    handleInfo->buffer = own_buffer(handleInfo);
    handleInfo->readIo.rwMode = READ;
    handleInfo->writeIo.rwMode = WRITE;
    TRACE(trace_accept(handleInfo));
    registry_add(handleInfo);
    /* The key is ULONG_PTR, as wide as a pointer. The chapter's (DWORD) cast
     * cuts a 64-bit address in half. */
    if (CreateIoCompletionPort((HANDLE)hClntSock, hComPort,
                               (ULONG_PTR)handleInfo, 0)
        == NULL) {
        log_failure("CreateIoCompletionPort (associate)", (int)GetLastError(),
                    NULL);
        connection_close(handleInfo, CLOSE_ERROR);
        return NULL;
    }
    handleInfo->inlined = skipsPackets && skip_packets(hClntSock);
    return handleInfo;
}

/* -------------------------------- buffers -------------------------------- */

/* Gives back what is borrowed. */
static void return_buffer(LPPER_HANDLE_DATA handleInfo)
{
    if (handleInfo->buffer != own_buffer(handleInfo))
        buffer_give(handleInfo->buffer, handleInfo->large);
    handleInfo->buffer = own_buffer(handleInfo);
    handleInfo->large = FALSE;
}

/* Sees to a buffer of the size that is wanted, or a small one where there is
 * no memory. Only between an echo and the next READ: then the buffer holds
 * nothing, and nothing is copied. FALSE if there is not even a small one. */
static BOOL fit_buffer(LPPER_HANDLE_DATA handleInfo)
{
    if (handleInfo->buffer != NULL
        && handleInfo->large == handleInfo->wantsLarge)
        return TRUE;
    return_buffer(handleInfo);
    if (handleInfo->wantsLarge) {
        char *buffer = buffer_take(TRUE);

        if (buffer != NULL)
            handleInfo->buffer = buffer;
        /* If not: the next full READ will ask again. */
        handleInfo->large = handleInfo->wantsLarge = buffer != NULL;
    }
    if (handleInfo->buffer == NULL)
        handleInfo->buffer = buffer_take(FALSE);
    return handleInfo->buffer != NULL;
}

void connection_received(LPPER_HANDLE_DATA handleInfo, DWORD bytes)
{
    handleInfo->received += bytes;
    if (bytes == buffer_size(handleInfo->large)) {
        /* A full buffer: most likely more is waiting behind it. */
        handleInfo->wantsLarge = buffer_size(TRUE) > BUF_SIZE;
        handleInfo->smallReads = 0;
    } else if (bytes >= BUF_SIZE) {
        handleInfo->smallReads = 0;
    } else if (handleInfo->large && ++handleInfo->smallReads == SMALL_READS) {
        handleInfo->wantsLarge = FALSE;
        handleInfo->smallReads = 0;
    }
}

/* -------------------------------- posting -------------------------------- */

/*
 * The one place that posts. Three outcomes: done at once, pending, failed. For
 * the first two a packet comes; they are the same here, except where the
 * connection is inlined: then none comes for what is done at once, so nobody
 * else will ever hear of this operation, and the caller is still the owner. Nor
 * does one come for a failure: the caller retires the connection. Once.
 */
static LPPER_IO_DATA post(LPPER_HANDLE_DATA handleInfo, LPPER_IO_DATA ioInfo)
{
    BOOL inlined = handleInfo->inlined;  /* to know it after the post */
    DWORD flags = 0;  /* WSARecv reads it, and writes it only if done at once */
    int result, code;

    ZeroMemory(&ioInfo->overlapped, sizeof ioInfo->overlapped);
    TRACE(trace_post(handleInfo->id, ioInfo->rwMode == WRITE,
                     ioInfo->wsaBuf.len));
    if (ioInfo->rwMode == READ)
        result = WSARecv(handleInfo->hClntSock, &ioInfo->wsaBuf, 1, NULL,
                         &flags, &ioInfo->overlapped, NULL);
    else
        result = WSASend(handleInfo->hClntSock, &ioInfo->wsaBuf, 1, NULL, 0,
                         &ioInfo->overlapped, NULL);
    if (result == 0 && inlined)
        return ioInfo;
    if (result == 0 || (code = WSAGetLastError()) == WSA_IO_PENDING)
        return NULL;  /* handleInfo may be gone already: no touching it here */
    TRACE(trace_post_failed(handleInfo->id, ioInfo->rwMode == WRITE,
                            (DWORD)code));
    log_detail("failed conn=%llu mode=%s code=%d at-once=1", handleInfo->id,
               ioInfo->rwMode == READ ? "READ" : "WRITE", code);
    connection_close(handleInfo, connection_failure(handleInfo));
    return NULL;
}

LPPER_IO_DATA connection_read(LPPER_HANDLE_DATA handleInfo)
{
    static char nothing;  /* no byte is ever written to it */

    if (!zeroByte)
        return connection_read_announced(handleInfo);
    /* A receive of no bytes is done when there is something to receive, and
     * until then it locks no buffer in memory. */
    return_buffer(handleInfo);
    handleInfo->readIo.wsaBuf.buf = &nothing;
    handleInfo->readIo.wsaBuf.len = 0;
    return post(handleInfo, &handleInfo->readIo);
}

LPPER_IO_DATA connection_read_announced(LPPER_HANDLE_DATA handleInfo)
{
    LPPER_IO_DATA ioInfo = &handleInfo->readIo;

    if (!fit_buffer(handleInfo)) {
        log_error("conn=%llu dropped: out of memory", handleInfo->id);
        connection_close(handleInfo, CLOSE_ERROR);
        return NULL;
    }
    /* Always the whole buffer, however short the READ before was. */
    ioInfo->wsaBuf.buf = handleInfo->buffer;
    ioInfo->wsaBuf.len = buffer_size(handleInfo->large);
    return post(handleInfo, ioInfo);
}

LPPER_IO_DATA connection_write(LPPER_HANDLE_DATA handleInfo, char *data,
                               DWORD bytes)
{
    LPPER_IO_DATA ioInfo = &handleInfo->writeIo;

    ioInfo->wsaBuf.buf = data;
    ioInfo->wsaBuf.len = bytes;
    return post(handleInfo, ioInfo);
}

BOOL connection_queue(LPPER_HANDLE_DATA handleInfo, LPPER_IO_DATA ioInfo,
                      HANDLE hComPort)
{
    static volatile LONG told = FALSE;

    /* For whoever takes it this is the operation's own packet: the same key,
     * the same OVERLAPPED, with the status that the system has left there. */
    if (PostQueuedCompletionStatus(hComPort,
                                   (DWORD)ioInfo->overlapped.InternalHigh,
                                   (ULONG_PTR)handleInfo, &ioInfo->overlapped))
        return TRUE;  /* and as after every post: no touching it here */
    if (!InterlockedExchange(&told, TRUE))
        log_failure("PostQueuedCompletionStatus", (int)GetLastError(),
                    "a connection does not wait for its turn");
    return FALSE;
}

/* -------------------------------- closing -------------------------------- */

void connection_close(LPPER_HANDLE_DATA handleInfo, CLOSE_REASON reason)
{
    static const char *const names[] = {"eof", "error", "idle", "stopped"};
    DWORD live;

    TRACE(trace_closing(handleInfo->id, names[reason], handleInfo->received,
                        handleInfo->sent));
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
    return_buffer(handleInfo);
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

LPPER_IO_DATA connection_finish(LPPER_HANDLE_DATA handleInfo)
{
    /* A closed socket answers bytes that were not read, or still come, with a
     * reset; and a reset overtakes the echo that is on its way to the client:
     * what was received and sent would be lost all the same. */
    handleInfo->lastActive = (LONG)GetTickCount();
    if (connection_shutdown(handleInfo) && registry_discard(handleInfo))
        return connection_read(handleInfo);
    connection_close(handleInfo, CLOSE_STOPPED);
    return NULL;
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
