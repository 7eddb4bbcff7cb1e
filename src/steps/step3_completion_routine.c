/*
 * step3_completion_routine.c - the chapter's first server: overlapped I/O and
 * completion routines, all of it in one thread.
 *
 * What it shows: WSARecv and WSASend only start something. When it is done the
 * system calls the routine that was passed along, ReadCompRoutine or
 * WriteCompRoutine, and each of these starts the other. It calls them in the
 * thread that started the operation, and only while that waits alertably: in
 * SleepEx(..., TRUE). So main can't wait in accept; it asks a non-blocking
 * listening socket over and over, and sleeps in between.
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
#define WIN32_LEAN_AND_MEAN
#include <winsock2.h>
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* SOMAXCONN is some 200: further clients are reset, and do not wait. */
#ifndef SOMAXCONN_HINT
#define SOMAXCONN_HINT(backlog) (-(backlog))
#endif

#define PROGRAM  "step3_completion_routine"
#define BUF_SIZE 4096

typedef struct {
    SOCKET hClntSock;
    SOCKADDR_IN clntAdr;
    char buf[BUF_SIZE];  /* a receive fills it, a send empties it: no copy */
    WSABUF wsaBuf;       /* the part of it that is to be transferred       */
} PER_IO_DATA, *LPPER_IO_DATA;

static void CALLBACK ReadCompRoutine(DWORD, DWORD, LPWSAOVERLAPPED, DWORD);
static void CALLBACK WriteCompRoutine(DWORD, DWORD, LPWSAOVERLAPPED, DWORD);

static void PrintFailure(const char *call, DWORD code)
{
    fprintf(stderr, PROGRAM ": %s failed: code %lu\n", call, code);
}

/* For what the server can't do without. */
static void Check(BOOL ok, const char *call)
{
    if (!ok) {
        PrintFailure(call, GetLastError());  /* WSAGetLastError is the same */
        exit(1);  /* NOLINT(concurrency-mt-unsafe): there is one thread */
    }
}

static void PrintClient(const char *event, DWORD code, const SOCKADDR_IN *adr)
{
    const u_char *ip = (const u_char *)&adr->sin_addr;

    printf("%s code=%lu peer=%u.%u.%u.%u:%u\n", event, code, ip[0], ip[1],
           ip[2], ip[3], ntohs(adr->sin_port));
    fflush(stdout);  /* through a pipe it would come much later */
}

/* A client has at most one operation, and here it has none: nothing uses what
 * is freed. */
static void CloseClient(LPWSAOVERLAPPED lpOverlapped, const char *event,
                        DWORD code)
{
    LPPER_IO_DATA hbInfo = (LPPER_IO_DATA)lpOverlapped->hEvent;

    PrintClient(event, code, &hbInfo->clntAdr);
    if (closesocket(hbInfo->hClntSock) != 0)
        PrintFailure("closesocket", GetLastError());
    free(hbInfo);
    free(lpOverlapped);
}

/* Done at once (0) or WSA_IO_PENDING: the routine is called either way, later.
 * Any other error: it never is, so the client ends here. */
static void Receive(LPWSAOVERLAPPED lpOverlapped)
{
    LPPER_IO_DATA hbInfo = (LPPER_IO_DATA)lpOverlapped->hEvent;
    DWORD flagInfo = 0;
    int result;

    hbInfo->wsaBuf.buf = hbInfo->buf;
    hbInfo->wsaBuf.len = BUF_SIZE;
    result = WSARecv(hbInfo->hClntSock, &hbInfo->wsaBuf, 1, NULL, &flagInfo,
                     lpOverlapped, ReadCompRoutine);
    if (result != 0 && WSAGetLastError() != WSA_IO_PENDING)
        CloseClient(lpOverlapped, "failed call=WSARecv", GetLastError());
}

static void Send(LPWSAOVERLAPPED lpOverlapped)
{
    LPPER_IO_DATA hbInfo = (LPPER_IO_DATA)lpOverlapped->hEvent;
    int result = WSASend(hbInfo->hClntSock, &hbInfo->wsaBuf, 1, NULL, 0,
                         lpOverlapped, WriteCompRoutine);

    if (result != 0 && WSAGetLastError() != WSA_IO_PENDING)
        CloseClient(lpOverlapped, "failed call=WSASend", GetLastError());
}

static void CALLBACK ReadCompRoutine(DWORD dwError, DWORD szRecvBytes,
                                     LPWSAOVERLAPPED lpOverlapped, DWORD flags)
{
    LPPER_IO_DATA hbInfo = (LPPER_IO_DATA)lpOverlapped->hEvent;

    (void)flags;
    if (dwError != 0) {
        CloseClient(lpOverlapped, "failed call=WSARecv", dwError);
    } else if (szRecvBytes == 0) {  /* end of file, and all of it is echoed */
        CloseClient(lpOverlapped, "close", 0);
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
        CloseClient(lpOverlapped, "failed call=WSASend", dwError);
    else if (hbInfo->wsaBuf.len > 0)  /* a short send: the rest goes first */
        Send(lpOverlapped);
    else
        Receive(lpOverlapped);
}

static void StartClient(SOCKET hRecvSock, const SOCKADDR_IN *recvAdr)
{
    LPWSAOVERLAPPED lpOvLp = (LPWSAOVERLAPPED)calloc(1, sizeof *lpOvLp);
    LPPER_IO_DATA hbInfo = (LPPER_IO_DATA)malloc(sizeof *hbInfo);

    Check(lpOvLp != NULL && hbInfo != NULL, "malloc");
    hbInfo->hClntSock = hRecvSock;
    hbInfo->clntAdr = *recvAdr;
    /* A routine is given the OVERLAPPED and nothing of ours. But with a
     * routine the system does not look at hEvent: Microsoft's pages on WSARecv
     * and WSASend leave it to the program for just this. */
    lpOvLp->hEvent = (HANDLE)hbInfo;
    PrintClient("accept", 0, recvAdr);
    Receive(lpOvLp);
}

/* Returns the port, or -1 if this is none: atoi would take "9190x", too. */
static int ParsePort(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    int port = -1;

    if (digits >= 1 && digits <= 5 && text[digits] == '\0')
        port = (int)strtol(text, NULL, 10);
    return port <= 65535 ? port : -1;
}

int main(int argc, char *argv[])
{
    WSADATA wsaData;
    SOCKET hLisnSock;
    SOCKADDR_IN lisnAdr = {0};
    int adrSz = sizeof lisnAdr, on = 1, code;
    u_long mode = 1;  /* non-blocking */
    int port = argc == 2 ? ParsePort(argv[1]) : -1;

    if (port < 0) {
        fprintf(stderr, PROGRAM ": usage: " PROGRAM " PORT (0 to 65535)\n");
        return 2;
    }
    if ((code = WSAStartup(MAKEWORD(2, 2), &wsaData)) != 0) {
        PrintFailure("WSAStartup", (DWORD)code);
        return 1;
    }

    hLisnSock = WSASocketW(PF_INET, SOCK_STREAM, 0, NULL, 0,
                           WSA_FLAG_OVERLAPPED);
    Check(hLisnSock != INVALID_SOCKET, "WSASocket");
    Check(ioctlsocket(hLisnSock, (long)FIONBIO, &mode) == 0, "ioctlsocket");
    code = setsockopt(hLisnSock, SOL_SOCKET, SO_EXCLUSIVEADDRUSE,
                      (const char *)&on, sizeof on);
    Check(code == 0, "setsockopt");
    lisnAdr.sin_family = AF_INET;
    lisnAdr.sin_addr.s_addr = htonl(INADDR_ANY);
    lisnAdr.sin_port = htons((u_short)port);
    Check(bind(hLisnSock, (SOCKADDR *)&lisnAdr, adrSz) == 0, "bind");
    Check(listen(hLisnSock, SOMAXCONN_HINT(65535)) == 0, "listen");
    Check(getsockname(hLisnSock, (SOCKADDR *)&lisnAdr, &adrSz) == 0,
          "getsockname");
    printf("ready port=%u address=0.0.0.0\n", ntohs(lisnAdr.sin_port));
    fflush(stdout);

    for (;;) {
        SOCKADDR_IN recvAdr;
        int recvAdrSz = sizeof recvAdr;
        SOCKET hRecvSock;

        SleepEx(100, TRUE);  /* the routines are called here, nowhere else */
        hRecvSock = accept(hLisnSock, (SOCKADDR *)&recvAdr, &recvAdrSz);
        /* The new socket is non-blocking as well. Overlapped operations do not
         * mind: they become pending where others fail. */
        if (hRecvSock != INVALID_SOCKET)
            StartClient(hRecvSock, &recvAdr);
        else if (WSAGetLastError() != WSAEWOULDBLOCK)
            PrintFailure("accept", GetLastError());  /* that client only */
    }
}
