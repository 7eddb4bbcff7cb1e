/*
 * step3_completion_routine.c - the chapter's first server: overlapped I/O and
 * completion routines, all of it in one thread.
 *
 * The problem before: in step 2 one wait takes 64 events. What this step
 * shows: there is none to wait for. When an operation is done the system calls
 * the routine that was passed along, ReadCompRoutine or WriteCompRoutine, and
 * each of these starts the other. It calls them in the thread that started the
 * operation, and only while that waits alertably: in SleepEx(..., TRUE). So
 * main can't wait in accept; it asks a non-blocking listening socket over and
 * over, and sleeps in between.
 *
 * Its problem: a completion ends the sleep, a new client does not. A client
 * that comes to a quiet server waits up to 100 ms, and silent ones come in at
 * ten a second. A shorter sleep burns CPU time instead. Where there is much to
 * do it is worse: SleepEx calls routines until none is left to call, and each
 * starts an operation that may be done at once. While one client sends without
 * a pause, no other is accepted (measured under Wine 8). And one thread uses
 * one CPU of many. In step4_iocp.c main waits in accept, and other threads
 * wait for completions.
 *
 *   step3_completion_routine PORT      0: the system chooses
 *
 * It prints "close" for a client that has closed, "failed" for one it closed
 * itself because an operation failed. Ctrl+C ends it as it ends any program:
 * at once, wherever it is. Exit status: 1 could not run, 2 wrong command line.
 */
#include <winsock2.h>  /* it includes windows.h */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM  "step3_completion_routine"
#define BUF_SIZE 4096
#define BACKLOG  (-65535)  /* SOMAXCONN_HINT(65535): SOMAXCONN is some 200 */

typedef struct {
    SOCKET hClntSock;
    SOCKADDR_IN clntAdr;
    char buf[BUF_SIZE];  /* a receive fills it, a send empties it: no copy */
    WSABUF wsaBuf;       /* the part of it that is to be transferred       */
} PER_IO_DATA, *LPPER_IO_DATA;

static void CALLBACK ReadCompRoutine(DWORD, DWORD, LPWSAOVERLAPPED, DWORD);
static void CALLBACK WriteCompRoutine(DWORD, DWORD, LPWSAOVERLAPPED, DWORD);

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

/* A client has at most one operation, and here it has none: nothing uses what
 * is freed. */
static void CloseClient(LPWSAOVERLAPPED lpOverlapped, DWORD code)
{
    LPPER_IO_DATA hbInfo = (LPPER_IO_DATA)lpOverlapped->hEvent;

    PrintClient(code == 0 ? "close" : "failed", code, &hbInfo->clntAdr);
    closesocket(hbInfo->hClntSock);
    free(hbInfo);
    free(lpOverlapped);
}

/* Done at once (0) or WSA_IO_PENDING: the routine is called either way, later.
 * Any other error: it never is, so the client ends here. */
static void Receive(LPWSAOVERLAPPED lpOverlapped, DWORD size)
{
    LPPER_IO_DATA hbInfo = (LPPER_IO_DATA)lpOverlapped->hEvent;
    DWORD flagInfo = 0;
    int result;

    hbInfo->wsaBuf.buf = hbInfo->buf;
    hbInfo->wsaBuf.len = size;
    result = WSARecv(hbInfo->hClntSock, &hbInfo->wsaBuf, 1, NULL, &flagInfo,
                     lpOverlapped, ReadCompRoutine);
    if (result != 0 && WSAGetLastError() != WSA_IO_PENDING)
        CloseClient(lpOverlapped, GetLastError());
}

static void Send(LPWSAOVERLAPPED lpOverlapped)
{
    LPPER_IO_DATA hbInfo = (LPPER_IO_DATA)lpOverlapped->hEvent;
    int result = WSASend(hbInfo->hClntSock, &hbInfo->wsaBuf, 1, NULL, 0,
                         lpOverlapped, WriteCompRoutine);

    if (result != 0 && WSAGetLastError() != WSA_IO_PENDING)
        CloseClient(lpOverlapped, GetLastError());
}

static void CALLBACK ReadCompRoutine(DWORD dwError, DWORD szRecvBytes,
                                     LPWSAOVERLAPPED lpOverlapped, DWORD flags)
{
    LPPER_IO_DATA hbInfo = (LPPER_IO_DATA)lpOverlapped->hEvent;

    (void)flags;
    if (dwError != 0) {
        CloseClient(lpOverlapped, dwError);
    } else if (szRecvBytes == 0) {  /* end of file, and all of it is echoed */
        CloseClient(lpOverlapped, 0);
    } else {  /* echo! */
        hbInfo->wsaBuf.len = szRecvBytes;
        Send(lpOverlapped);
    }
}

static void CALLBACK WriteCompRoutine(DWORD dwError, DWORD szSendBytes,
                                      LPWSAOVERLAPPED lpOverlapped,
                                      DWORD flags)
{
    LPPER_IO_DATA hbInfo = (LPPER_IO_DATA)lpOverlapped->hEvent;

    (void)flags;
    hbInfo->wsaBuf.buf += szSendBytes;
    hbInfo->wsaBuf.len -= szSendBytes;
    if (dwError != 0)
        CloseClient(lpOverlapped, dwError);
    else if (hbInfo->wsaBuf.len > 0)  /* a short send: the rest goes first */
        Send(lpOverlapped);
    else
#ifdef AS_LISTED  /* in the chapter the length stays what was received */
        Receive(lpOverlapped, szSendBytes);
#else
        Receive(lpOverlapped, BUF_SIZE);
#endif
}

static void StartClient(SOCKET hClntSock, const SOCKADDR_IN *clntAdr)
{
    LPWSAOVERLAPPED lpOvLp = (LPWSAOVERLAPPED)calloc(1, sizeof *lpOvLp);
    LPPER_IO_DATA hbInfo = (LPPER_IO_DATA)malloc(sizeof *hbInfo);

    Check(lpOvLp != NULL && hbInfo != NULL, "malloc");
    hbInfo->hClntSock = hClntSock;
    hbInfo->clntAdr = *clntAdr;
    /* A routine is given the OVERLAPPED and nothing of ours. But with a
     * routine the system does not look at hEvent: Microsoft's pages on WSARecv
     * and WSASend leave it to the program for just this. */
    lpOvLp->hEvent = (HANDLE)hbInfo;
    PrintClient("accept", 0, clntAdr);
    Receive(lpOvLp, BUF_SIZE);
}

int main(int argc, char *argv[])
{
    SOCKET hServSock = Listen(argc, argv);
    u_long mode = 1;  /* non-blocking */

    Check(ioctlsocket(hServSock, (long)FIONBIO, &mode) == 0, "ioctlsocket");
    for (;;) {
        SOCKADDR_IN clntAdr;
        int adrSz = sizeof clntAdr;
        SOCKET hClntSock;

        SleepEx(100, TRUE);  /* the routines are called here, nowhere else */
        hClntSock = accept(hServSock, (SOCKADDR *)&clntAdr, &adrSz);
        /* The new socket is non-blocking as well. Overlapped operations do not
         * mind: they become pending where others fail. */
        if (hClntSock != INVALID_SOCKET)
            StartClient(hClntSock, &clntAdr);
        else if (GetLastError() != WSAEWOULDBLOCK)
            fprintf(stderr, PROGRAM ": accept failed: code %lu\n",
                    GetLastError());
    }
}
