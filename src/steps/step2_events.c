/*
 * step2_events.c - overlapped I/O, and an event for each client.
 *
 * The problem before: in step 1 a client that does nothing costs a thread.
 * What this step shows: WSARecv and WSASend only start something. When it is
 * done, the system sets the event in the OVERLAPPED. So one thread serves all
 * clients: it waits for all events at once, and then asks for the result.
 *
 * Its problem: one wait takes 64 events (WSA_MAXIMUM_WAIT_EVENTS). One is the
 * listening socket's, so there is room for 63 clients; this server closes the
 * next at once and says "refused". More would need more threads, each with 64.
 * And the wait says only which event is the first that is set: to be fair the
 * server looks at all those behind it, a call for each. In
 * step3_completion_routine.c there are no events, and no limit.
 *
 *   step2_events PORT      0: the system chooses
 *
 * It prints "close" for a client that has closed, "failed" for one it closed
 * itself because an operation failed. Ctrl+C ends it as it ends any program:
 * at once, wherever it is. Exit status: 1 could not run, 2 wrong command line.
 */
#include <winsock2.h>  /* it includes windows.h */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM  "step2_events"
#define BUF_SIZE 4096
#define BACKLOG  (-65535)  /* SOMAXCONN_HINT(65535): SOMAXCONN is some 200 */
#define READ     3
#define WRITE    5

typedef struct {
    SOCKET hClntSock;
    SOCKADDR_IN clntAdr;
    WSAOVERLAPPED overlapped;  /* its hEvent is set when it is done         */
    WSABUF wsaBuf;             /* the part of buffer that is to be moved    */
    char buffer[BUF_SIZE];     /* a READ fills it, a WRITE empties it       */
    int rwMode;                /* READ or WRITE                             */
} PER_IO_DATA, *LPPER_IO_DATA;

/* One wait takes 64 events: the listening socket's, which is the first, and
 * one for each client. Both arrays have the same order. */
static WSAEVENT hEvents[WSA_MAXIMUM_WAIT_EVENTS];
static LPPER_IO_DATA clients[WSA_MAXIMUM_WAIT_EVENTS];
static DWORD count = 1;

/* For what the server can't do without. */
static void Check(BOOL ok, const char *call)
{
    if (!ok) {
        fprintf(stderr, PROGRAM ": %s failed: code %lu\n", call,
                GetLastError());  /* WSAGetLastError is the same */
        ExitProcess(1);
    }
}

static void PrintClient(const char *event, DWORD code, const SOCKADDR_IN *adr)
{
    const u_char *ip = (const u_char *)&adr->sin_addr;

    printf("%s code=%lu peer=%u.%u.%u.%u:%u\n", event, code, ip[0], ip[1],
           ip[2], ip[3], ntohs(adr->sin_port));
    fflush(stdout);  /* through a pipe it would come much later */
}

/* Returns a socket that listens on the port of the command line. */
static SOCKET Listen(int argc, char *argv[])
{
    WSADATA wsaData;
    SOCKET sock;
    SOCKADDR_IN servAdr = {0};  /* sin_addr is INADDR_ANY, which is 0 */
    int adrSz = sizeof servAdr, on = 1, code;

    if (argc != 2 || argv[1][0] == '\0'  /* atoi would take "9190x", too */
        || argv[1][strspn(argv[1], "0123456789")] != '\0'
        || strtol(argv[1], NULL, 10) > 65535) {
        fprintf(stderr, PROGRAM ": usage: " PROGRAM " PORT (0 to 65535)\n");
        ExitProcess(2);
    }
    SetLastError((DWORD)WSAStartup(MAKEWORD(2, 2), &wsaData));
    Check(GetLastError() == 0, "WSAStartup");  /* it alone does not set it */
    sock = WSASocketW(AF_INET, SOCK_STREAM, 0, NULL, 0, WSA_FLAG_OVERLAPPED);
    Check(sock != INVALID_SOCKET, "WSASocket");
    code = setsockopt(sock, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, (const char *)&on,
                      sizeof on);
    Check(code == 0, "setsockopt");
    servAdr.sin_family = AF_INET;
    servAdr.sin_port = htons((u_short)strtol(argv[1], NULL, 10));
    Check(bind(sock, (SOCKADDR *)&servAdr, adrSz) == 0, "bind");
    Check(listen(sock, BACKLOG) == 0, "listen");
    Check(getsockname(sock, (SOCKADDR *)&servAdr, &adrSz) == 0, "getsockname");
    printf("ready port=%u address=0.0.0.0\n", ntohs(servAdr.sin_port));
    fflush(stdout);
    return sock;
}

/* Its operation is done, or was never begun: nothing uses what is freed. The
 * last client takes its place. */
static void CloseClient(DWORD i, DWORD code)
{
    PrintClient(code == 0 ? "close" : "failed", code, &clients[i]->clntAdr);
    closesocket(clients[i]->hClntSock);
    WSACloseEvent(hEvents[i]);
    free(clients[i]);
    --count;
    clients[i] = clients[count];
    hEvents[i] = hEvents[count];
}

/* Done at once (0) or WSA_IO_PENDING: the event is set either way. Any other
 * error: it never is, so the client ends here. */
static void Post(DWORD i, int rwMode)
{
    LPPER_IO_DATA ioInfo = clients[i];
    DWORD flags = 0;
    int result;

    memset(&ioInfo->overlapped, 0, sizeof ioInfo->overlapped);
    ioInfo->overlapped.hEvent = hEvents[i];
    WSAResetEvent(hEvents[i]);
    ioInfo->rwMode = rwMode;
    if (rwMode == READ) {
        ioInfo->wsaBuf.buf = ioInfo->buffer;
        ioInfo->wsaBuf.len = BUF_SIZE;
        result = WSARecv(ioInfo->hClntSock, &ioInfo->wsaBuf, 1, NULL, &flags,
                         &ioInfo->overlapped, NULL);
    } else {
        result = WSASend(ioInfo->hClntSock, &ioInfo->wsaBuf, 1, NULL, 0,
                         &ioInfo->overlapped, NULL);
    }
    if (result != 0 && GetLastError() != WSA_IO_PENDING)
        CloseClient(i, GetLastError());
}

/* The client's operation is done: posts the next. */
static void Echo(DWORD i)
{
    LPPER_IO_DATA ioInfo = clients[i];
    DWORD bytesTrans, flags;

    if (!WSAGetOverlappedResult(ioInfo->hClntSock, &ioInfo->overlapped,
                                &bytesTrans, FALSE, &flags)) {
        CloseClient(i, GetLastError());
    } else if (ioInfo->rwMode == READ && bytesTrans == 0) {
        CloseClient(i, 0);  /* EOF, and all is echoed */
    } else if (ioInfo->rwMode == READ) {
        ioInfo->wsaBuf.len = bytesTrans;
        Post(i, WRITE);
    } else {
        ioInfo->wsaBuf.buf += bytesTrans;
        ioInfo->wsaBuf.len -= bytesTrans;  /* short: the rest first */
        Post(i, ioInfo->wsaBuf.len > 0 ? WRITE : READ);
    }
}

static void StartClient(SOCKET hClntSock, const SOCKADDR_IN *clntAdr)
{
    LPPER_IO_DATA ioInfo;

    if (count == WSA_MAXIMUM_WAIT_EVENTS) {
        PrintClient("refused events=64", 0, clntAdr);
        closesocket(hClntSock);
        return;
    }
    ioInfo = (LPPER_IO_DATA)malloc(sizeof *ioInfo);
    hEvents[count] = WSACreateEvent();
    Check(ioInfo != NULL, "malloc");
    Check(hEvents[count] != WSA_INVALID_EVENT, "WSACreateEvent");
    ioInfo->hClntSock = hClntSock;
    ioInfo->clntAdr = *clntAdr;
    PrintClient("accept", 0, clntAdr);
    clients[count] = ioInfo;
    Post(count++, READ);
}

/* The listening socket's event is set: accepts one client. If there are more,
 * accept sets the event again. */
static void Accept(SOCKET hServSock)
{
    SOCKADDR_IN clntAdr;
    int adrSz = sizeof clntAdr;
    SOCKET hClntSock;

    WSAResetEvent(hEvents[0]);
    hClntSock = accept(hServSock, (SOCKADDR *)&clntAdr, &adrSz);
    if (hClntSock != INVALID_SOCKET) {
        /* It has inherited the event, which is not for it. */
        WSAEventSelect(hClntSock, NULL, 0);
        StartClient(hClntSock, &clntAdr);
    } else if (GetLastError() != WSAEWOULDBLOCK) {
        fprintf(stderr, PROGRAM ": accept failed: code %lu\n", GetLastError());
    }
}

int main(int argc, char *argv[])
{
    SOCKET hServSock = Listen(argc, argv);
    DWORD i;

    hEvents[0] = WSACreateEvent();
    Check(hEvents[0] != WSA_INVALID_EVENT, "WSACreateEvent");
    Check(WSAEventSelect(hServSock, hEvents[0], FD_ACCEPT) == 0,
          "WSAEventSelect");
    for (;;) {
        DWORD first = WSAWaitForMultipleEvents(count, hEvents, FALSE, INFINITE,
                                               FALSE);

        Check(first != WSA_WAIT_FAILED, "WSAWaitForMultipleEvents");
        /* That is the first event that is set. Looks at those behind it, too,
         * or a busy client would keep them waiting. Backwards, because
         * CloseClient moves the last one. */
        for (i = count; i-- > first;)
            if (WSAWaitForMultipleEvents(1, &hEvents[i], TRUE, 0, FALSE)
                == WSA_WAIT_EVENT_0) {
                if (i == 0)
                    Accept(hServSock);
                else
                    Echo(i);
            }
    }
}
