/*
 * step4_iocp.c - the chapter's IOCP server, as short as a correct one can be.
 *
 * What it shows: main waits in accept, and as many threads as there are CPUs
 * wait in GetQueuedCompletionStatus. All sockets are associated with one
 * completion port. Whatever operation is done, one thread gets its packet: the
 * number of bytes, the key that was given with the socket (handleInfo: whose)
 * and the OVERLAPPED that was given with the operation (ioInfo: which).
 *
 * Unlike in the chapter's listing, a client has one PER_IO_DATA, which goes
 * READ, WRITE, READ. So it has one packet, and one thread at a time; at its
 * end of file no send still uses what is freed; and no sends pile up for a
 * client that never reads. The key is a ULONG_PTR, since (DWORD) would cut a
 * 64-bit address in half. A failed operation ends its client and no other.
 *
 * Its problem: no end and no bounds. Ctrl+C ends it as it ends any program, at
 * once, with bytes received and not yet echoed. It takes any number of
 * clients, keeps silent ones for ever, and ends when memory runs out. The
 * server in src/ begins here.
 *
 *   step4_iocp PORT      0: the system chooses
 *
 * It prints "close" for a client that has closed, "failed" for one it closed
 * itself because an operation failed. Exit status: 1 could not run, 2 wrong
 * command line.
 */
#define WIN32_LEAN_AND_MEAN
#include <winsock2.h>
#include <windows.h>

#include <process.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* SOMAXCONN is some 200: further clients are reset, and do not wait. */
#ifndef SOMAXCONN_HINT
#define SOMAXCONN_HINT(backlog) (-(backlog))
#endif

#define PROGRAM  "step4_iocp"
#define BUF_SIZE 4096
#define READ     3
#define WRITE    5

typedef struct {  /* socket info: the key */
    SOCKET hClntSock;
    SOCKADDR_IN clntAdr;
} PER_HANDLE_DATA, *LPPER_HANDLE_DATA;

typedef struct {  /* buffer info: the operation */
    OVERLAPPED overlapped;  /* first: its address is that of the whole    */
    WSABUF wsaBuf;          /* the part of buffer that is to be transferred */
    char buffer[BUF_SIZE];  /* a READ fills it, a WRITE empties it        */
    int rwMode;             /* READ or WRITE                              */
} PER_IO_DATA, *LPPER_IO_DATA;

static void PrintFailure(const char *call, DWORD code)
{
    fprintf(stderr, PROGRAM ": %s failed: code %lu\n", call, code);
}

/* For what the server can't do without. */
static void Check(BOOL ok, const char *call)
{
    if (!ok) {
        PrintFailure(call, GetLastError());  /* WSAGetLastError is the same */
        exit(1);  /* NOLINT(concurrency-mt-unsafe): main alone gets here */
    }
}

static void PrintClient(const char *event, DWORD code, const SOCKADDR_IN *adr)
{
    const u_char *ip = (const u_char *)&adr->sin_addr;

    printf("%s code=%lu peer=%u.%u.%u.%u:%u\n", event, code, ip[0], ip[1],
           ip[2], ip[3], ntohs(adr->sin_port));
    fflush(stdout);  /* through a pipe it would come much later */
}

/* CreateIoCompletionPort is two functions in one. */
static HANDLE CreateNewIOCP(DWORD dwNumberOfConcurrentThreads)
{
    return CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0,
                                  dwNumberOfConcurrentThreads);
}

static BOOL AssociateDeviceWithIOCP(HANDLE hIOCP, HANDLE hDevice,
                                    ULONG_PTR completionKey)
{
    return CreateIoCompletionPort(hDevice, hIOCP, completionKey, 0) == hIOCP;
}

/* Call only while holding the client's only packet, or when none will come.
 * Code 0 is the end of file; any other is that of the failed operation. */
static void CloseClient(LPPER_HANDLE_DATA handleInfo, LPPER_IO_DATA ioInfo,
                        DWORD code)
{
    const char *event = "close";

    if (code != 0)
        event = ioInfo->rwMode == READ ? "failed call=WSARecv"
                                       : "failed call=WSASend";
    PrintClient(event, code, &handleInfo->clntAdr);
    if (closesocket(handleInfo->hClntSock) != 0)
        PrintFailure("closesocket", GetLastError());
    free(handleInfo);
    free(ioInfo);
}

/* Done at once (0) or WSA_IO_PENDING: a packet comes either way. Another
 * thread may have it by now, and have freed the client, so this touches
 * nothing more. Any other error: no packet comes, so the client ends here. */
static void Post(LPPER_HANDLE_DATA handleInfo, LPPER_IO_DATA ioInfo)
{
    DWORD flags = 0;
    int result;

    memset(&ioInfo->overlapped, 0, sizeof ioInfo->overlapped);
    if (ioInfo->rwMode == READ)
        result = WSARecv(handleInfo->hClntSock, &ioInfo->wsaBuf, 1, NULL,
                         &flags, &ioInfo->overlapped, NULL);
    else
        result = WSASend(handleInfo->hClntSock, &ioInfo->wsaBuf, 1, NULL, 0,
                         &ioInfo->overlapped, NULL);
    if (result != 0 && WSAGetLastError() != WSA_IO_PENDING)
        CloseClient(handleInfo, ioInfo, GetLastError());
}

static void PostRead(LPPER_HANDLE_DATA handleInfo, LPPER_IO_DATA ioInfo)
{
    ioInfo->wsaBuf.len = BUF_SIZE;
    ioInfo->wsaBuf.buf = ioInfo->buffer;
    ioInfo->rwMode = READ;
    Post(handleInfo, ioInfo);
}

/* The client's operation is done: posts the next. */
static void Echo(LPPER_HANDLE_DATA handleInfo, LPPER_IO_DATA ioInfo,
                 DWORD bytesTrans)
{
    if (ioInfo->rwMode == READ && bytesTrans == 0) {
        /* End of file. All that came before it has been echoed. */
        CloseClient(handleInfo, ioInfo, 0);
    } else if (ioInfo->rwMode == READ) {
        ioInfo->wsaBuf.len = bytesTrans;
        ioInfo->rwMode = WRITE;
        Post(handleInfo, ioInfo);
    } else if (bytesTrans < ioInfo->wsaBuf.len) {
        /* A short send: the rest goes first. */
        ioInfo->wsaBuf.buf += bytesTrans;
        ioInfo->wsaBuf.len -= bytesTrans;
        Post(handleInfo, ioInfo);
    } else {
        PostRead(handleInfo, ioInfo);
    }
}

static unsigned WINAPI EchoThreadMain(LPVOID pComPort)
{
    for (;;) {
        DWORD bytesTrans;
        ULONG_PTR handleInfo;
        LPOVERLAPPED ioInfo = NULL;
        BOOL ok = GetQueuedCompletionStatus((HANDLE)pComPort, &bytesTrans,
                                            &handleInfo, &ioInfo, INFINITE);

        if (ok && ioInfo != NULL) {
            Echo((LPPER_HANDLE_DATA)handleInfo, (LPPER_IO_DATA)ioInfo,
                 bytesTrans);
        } else if (ioInfo != NULL) {
            /* A failed operation has its packet too. */
            CloseClient((LPPER_HANDLE_DATA)handleInfo, (LPPER_IO_DATA)ioInfo,
                        GetLastError());
        } else if (!ok) {
            /* No packet: the wait itself failed, and would fail again. */
            PrintFailure("GetQueuedCompletionStatus", GetLastError());
            return 1;
        }  /* else PostQueuedCompletionStatus, which nobody here calls */
    }
}

static void StartClient(HANDLE hComPort, SOCKET hClntSock,
                        const SOCKADDR_IN *clntAdr)
{
    LPPER_HANDLE_DATA handleInfo = (LPPER_HANDLE_DATA)malloc(
        sizeof *handleInfo);
    LPPER_IO_DATA ioInfo = (LPPER_IO_DATA)malloc(sizeof *ioInfo);

    Check(handleInfo != NULL && ioInfo != NULL, "malloc");
    handleInfo->hClntSock = hClntSock;
    handleInfo->clntAdr = *clntAdr;
    Check(AssociateDeviceWithIOCP(hComPort, (HANDLE)hClntSock,
                                  (ULONG_PTR)handleInfo),
          "CreateIoCompletionPort");
    PrintClient("accept", 0, clntAdr);
    PostRead(handleInfo, ioInfo);
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
    SYSTEM_INFO sysInfo;
    HANDLE hComPort;
    SOCKET hServSock;
    SOCKADDR_IN servAdr = {0};
    int adrSz = sizeof servAdr, on = 1, code;
    DWORD i;
    int port = argc == 2 ? ParsePort(argv[1]) : -1;

    if (port < 0) {
        fprintf(stderr, PROGRAM ": usage: " PROGRAM " PORT (0 to 65535)\n");
        return 2;
    }
    if ((code = WSAStartup(MAKEWORD(2, 2), &wsaData)) != 0) {
        PrintFailure("WSAStartup", (DWORD)code);
        return 1;
    }

    hComPort = CreateNewIOCP(0);  /* 0: as many may run at once as CPUs */
    Check(hComPort != NULL, "CreateIoCompletionPort");
    GetSystemInfo(&sysInfo);
    for (i = 0; i < sysInfo.dwNumberOfProcessors; ++i) {
        HANDLE hThread = (HANDLE)_beginthreadex(NULL, 0, EchoThreadMain,
                                                hComPort, 0, NULL);

        Check(hThread != NULL, "_beginthreadex");
        CloseHandle(hThread);  /* the thread goes on; nobody waits for it */
    }

    hServSock = WSASocketW(AF_INET, SOCK_STREAM, 0, NULL, 0,
                           WSA_FLAG_OVERLAPPED);
    Check(hServSock != INVALID_SOCKET, "WSASocket");
    code = setsockopt(hServSock, SOL_SOCKET, SO_EXCLUSIVEADDRUSE,
                      (const char *)&on, sizeof on);
    Check(code == 0, "setsockopt");
    servAdr.sin_family = AF_INET;
    servAdr.sin_addr.s_addr = htonl(INADDR_ANY);
    servAdr.sin_port = htons((u_short)port);
    Check(bind(hServSock, (SOCKADDR *)&servAdr, adrSz) == 0, "bind");
    Check(listen(hServSock, SOMAXCONN_HINT(65535)) == 0, "listen");
    Check(getsockname(hServSock, (SOCKADDR *)&servAdr, &adrSz) == 0,
          "getsockname");
    printf("ready port=%u address=0.0.0.0 workers=%lu\n",
           ntohs(servAdr.sin_port), sysInfo.dwNumberOfProcessors);
    fflush(stdout);

    for (;;) {
        SOCKADDR_IN clntAdr;
        int addrLen = sizeof clntAdr;
        SOCKET hClntSock = accept(hServSock, (SOCKADDR *)&clntAdr, &addrLen);

        if (hClntSock != INVALID_SOCKET) {
            StartClient(hComPort, hClntSock, &clntAdr);
        } else {
            DWORD reason = GetLastError();

            PrintFailure("accept", reason);  /* that client only */
            if (reason == WSAEMFILE || reason == WSAENOBUFS)
                Sleep(100);  /* until there is room again */
        }
    }
}
