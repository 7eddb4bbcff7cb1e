/*
 * step5_end.c - the chapter's IOCP server, with an end.
 *
 * The problem before: Ctrl+C ends step 4 at once, with bytes received and not
 * yet echoed. What this step shows, in this order:
 *
 * 1. Ctrl+C closes the listening socket, which ends main's accept: no client
 *    comes in any more.
 * 2. Those that are here are served until they leave. `clients` counts them,
 *    from before a client's first post until nothing of it is left: then it
 *    has no operation pending and no packet in the port.
 * 3. Only then main posts a sentinel for each thread, a packet without an
 *    OVERLAPPED. Any earlier, a thread could end while packets are still to
 *    come, and nobody would free what they belong to.
 * 4. Main waits for the threads. They own nothing now, so it may end.
 *
 * A second Ctrl+C ends the program at once.
 *
 * Its problems: a client that stays keeps the server from ending. The server
 * in src/ lists its connections, cancels their operations (CancelIoEx) and
 * gives them a time. And accept is still what it was in step 1: a call that
 * waits, and main is its thread. step6_acceptex.c has accept as a packet, too.
 *
 *   step5_end PORT      0: the system chooses
 *
 * It prints "close" for a client that has closed, "failed" for one it closed
 * itself because an operation failed. Exit status: 0 stopped, 1 could not run,
 * 2 wrong command line.
 */
#include <winsock2.h>  /* it includes windows.h */

#include <process.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM  "step5_end"
#define BUF_SIZE 4096
#define BACKLOG  (-65535)  /* SOMAXCONN_HINT(65535): SOMAXCONN is some 200 */
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

static HANDLE hComPort;
static SOCKET hServSock = INVALID_SOCKET;
static volatile LONG clients, stopping;

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

/* Call only while holding the client's only packet, or when none will come.
 * Code 0 is the end of file; any other is that of the failed operation. */
static void CloseClient(LPPER_HANDLE_DATA handleInfo, LPPER_IO_DATA ioInfo,
                        DWORD code)
{
    PrintClient(code == 0 ? "close" : "failed", code, &handleInfo->clntAdr);
    closesocket(handleInfo->hClntSock);
    free(handleInfo);
    free(ioInfo);
    InterlockedDecrement(&clients);  /* last: now nothing of it is left */
}

/* Done at once (0) or WSA_IO_PENDING: a packet comes either way. Another
 * thread may have it by now, and have freed the client, so this touches
 * nothing more. Any other error: no packet comes, so the client ends here. */
static void Post(LPPER_HANDLE_DATA handleInfo, LPPER_IO_DATA ioInfo,
                 int rwMode)
{
    DWORD flags = 0;
    int result;

    memset(&ioInfo->overlapped, 0, sizeof ioInfo->overlapped);
    ioInfo->rwMode = rwMode;
    if (rwMode == READ) {
        ioInfo->wsaBuf.buf = ioInfo->buffer;
        ioInfo->wsaBuf.len = BUF_SIZE;
        result = WSARecv(handleInfo->hClntSock, &ioInfo->wsaBuf, 1, NULL,
                         &flags, &ioInfo->overlapped, NULL);
    } else {
        result = WSASend(handleInfo->hClntSock, &ioInfo->wsaBuf, 1, NULL, 0,
                         &ioInfo->overlapped, NULL);
    }
    if (result != 0 && GetLastError() != WSA_IO_PENDING)
        CloseClient(handleInfo, ioInfo, GetLastError());
}

/* Takes a packet, posts the client's next operation, and so on. */
static unsigned WINAPI EchoThreadMain(LPVOID pComPort)
{
    for (;;) {
        DWORD bytesTrans;
        LPPER_HANDLE_DATA handleInfo = NULL;
        LPPER_IO_DATA ioInfo = NULL;
        BOOL ok = GetQueuedCompletionStatus(pComPort, &bytesTrans,
                                            (PULONG_PTR)&handleInfo,
                                            (LPOVERLAPPED *)&ioInfo, INFINITE);

        Check(ok || ioInfo != NULL, "GetQueuedCompletionStatus");
        if (ioInfo == NULL) {
            return 0;  /* a sentinel */
        } else if (!ok) {
            CloseClient(handleInfo, ioInfo, GetLastError());
        } else if (ioInfo->rwMode == READ && bytesTrans == 0) {
            CloseClient(handleInfo, ioInfo, 0);  /* EOF, and all is echoed */
        } else if (ioInfo->rwMode == READ) {
            ioInfo->wsaBuf.len = bytesTrans;
            Post(handleInfo, ioInfo, WRITE);
        } else {
            ioInfo->wsaBuf.buf += bytesTrans;
            ioInfo->wsaBuf.len -= bytesTrans;  /* short: the rest first */
            Post(handleInfo, ioInfo, ioInfo->wsaBuf.len > 0 ? WRITE : READ);
        }
    }
}

static void StartClient(SOCKET hClntSock, const SOCKADDR_IN *clntAdr)
{
    LPPER_IO_DATA ioInfo = (LPPER_IO_DATA)malloc(sizeof *ioInfo);
    LPPER_HANDLE_DATA handleInfo;
    HANDLE hPort;

    handleInfo = (LPPER_HANDLE_DATA)malloc(sizeof *handleInfo);
    Check(handleInfo != NULL && ioInfo != NULL, "malloc");
    InterlockedIncrement(&clients);
    handleInfo->hClntSock = hClntSock;
    handleInfo->clntAdr = *clntAdr;
    PrintClient("accept", 0, clntAdr);
    hPort = CreateIoCompletionPort((HANDLE)hClntSock, hComPort,
                                   (ULONG_PTR)handleInfo, 0);
    Check(hPort != NULL, "CreateIoCompletionPort");
    Post(handleInfo, ioInfo, READ);
}

/* The system calls this in a thread of its own. FALSE: the program ends at
 * once, as without this function; so does a second Ctrl+C. */
static BOOL WINAPI OnControl(DWORD event)
{
    if ((event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT)
        || InterlockedExchange(&stopping, TRUE))
        return FALSE;
    closesocket(hServSock);  /* which ends main's accept */
    return TRUE;
}

int main(int argc, char *argv[])
{
    HANDLE hThreads[MAXIMUM_WAIT_OBJECTS];  /* GetSystemInfo counts 64 */
    SYSTEM_INFO sysInfo;
    DWORD i;

    Check(SetConsoleCtrlHandler(OnControl, TRUE), "SetConsoleCtrlHandler");
    hServSock = Listen(argc, argv);
    hComPort = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0);
    Check(hComPort != NULL, "CreateIoCompletionPort");
    GetSystemInfo(&sysInfo);
    for (i = 0; i < sysInfo.dwNumberOfProcessors; ++i) {
        hThreads[i] = (HANDLE)_beginthreadex(NULL, 0, EchoThreadMain, hComPort,
                                             0, NULL);
        Check(hThreads[i] != NULL, "_beginthreadex");
    }
    while (!InterlockedExchangeAdd(&stopping, 0)) {
        SOCKADDR_IN clntAdr;
        int adrSz = sizeof clntAdr;
        SOCKET hClntSock = accept(hServSock, (SOCKADDR *)&clntAdr, &adrSz);
        DWORD reason = GetLastError();

        if (hClntSock != INVALID_SOCKET) {
            StartClient(hClntSock, &clntAdr);
            continue;
        }
        if (!stopping)
            fprintf(stderr, PROGRAM ": accept failed: code %lu\n", reason);
        if (reason == WSAEMFILE || reason == WSAENOBUFS)
            Sleep(100);  /* until there is room again */
    }

    printf("stopping\n");
    fflush(stdout);
    while (clients != 0)
        Sleep(10);
    for (i = 0; i < sysInfo.dwNumberOfProcessors; ++i)  /* the sentinels */
        Check(PostQueuedCompletionStatus(hComPort, 0, 0, NULL),
              "PostQueuedCompletionStatus");
    WaitForMultipleObjects(i, hThreads, TRUE, INFINITE);
    printf("stopped\n");
    return 0;
}
