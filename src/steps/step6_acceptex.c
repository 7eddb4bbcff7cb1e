/*
 * step6_acceptex.c - the chapter's IOCP server: accept is a packet, too.
 *
 * The problem before: in step 5 one thread, main, accepts all clients, one
 * after the other. What this step shows: AcceptEx only starts an accept, as
 * WSARecv starts a receive. ACCEPTS of them are pending, each with a socket
 * made in advance. When a client comes, some thread gets the packet, begins
 * the client and posts another ACCEPT. Main has nothing to do; it wakes ten
 * times a second and posts those that are missing: all in the beginning, later
 * those that failed or could not be posted (WSAEMFILE).
 *
 * What differs from accept, by Microsoft's pages:
 * - AcceptEx is asked for at run time (WSAIoctl).
 * - It would wait for the client's first bytes. With dwReceiveDataLength 0 it
 *   does not, or a client that sends nothing would use up an ACCEPT.
 * - Its packet has the listening socket's key, so ioInfo says whose it is.
 * - SO_UPDATE_ACCEPT_CONTEXT: without it shutdown and getpeername fail.
 * - A failed ACCEPT (its client is gone already) has its packet, too. It is
 *   missing until main wakes: at once it might fail again, over and over.
 *
 * The end is that of step 5. A pending ACCEPT counts among `clients`, and
 * closing the listening socket ends it: "failed", with no peer. To post one
 * after that fails, too: the lock sees to it that no thread still uses the
 * closed socket's number, which may be that of a new socket by then.
 *
 * What it gains where each client connects, echoes once and closes: under Wine
 * 8 nothing, 0.75 times as many a second as step 5, at 1.2 times the CPU time
 * (9 rounds on two CPUs that do nothing else): an AcceptEx takes more requests
 * to the Wine server. On Windows nothing was measured.
 *
 * Its problem: it has no bounds. It takes any number of clients, keeps silent
 * ones for ever, and ends when memory runs out. The server in src/ begins
 * here.
 *
 *   step6_acceptex PORT      0: the system chooses
 *
 * It prints "close" for a client that has closed, "failed" for one it closed
 * itself because an operation failed. Exit status: 0 stopped, 1 could not run,
 * 2 wrong command line.
 */
#include <winsock2.h>  /* it includes windows.h */
#include <mswsock.h>

#include <process.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM  "step6_acceptex"
#define BUF_SIZE 4096
#define BACKLOG  (-65535)  /* SOMAXCONN_HINT(65535): SOMAXCONN is some 200 */
#define READ     3
#define WRITE    5
#define ACCEPT   7
#define ACCEPTS  16  /* how many wait for clients */
#define ADR_SIZE ((DWORD)sizeof(SOCKADDR_IN) + 16)  /* AcceptEx: 16 more */

typedef struct {  /* socket info: the key */
    SOCKET hClntSock;
    SOCKADDR_IN clntAdr;
} PER_HANDLE_DATA, *LPPER_HANDLE_DATA;

typedef struct {  /* buffer info: the operation */
    OVERLAPPED overlapped;  /* first: its address is that of the whole    */
    WSABUF wsaBuf;          /* the part of buffer that is to be transferred */
    char buffer[BUF_SIZE];  /* a READ fills it, a WRITE empties it        */
    int rwMode;             /* READ, WRITE or ACCEPT                      */
    LPPER_HANDLE_DATA handleInfo;  /* an ACCEPT has the listener's key    */
} PER_IO_DATA, *LPPER_IO_DATA;

static HANDLE hComPort;
static SOCKET hServSock = INVALID_SOCKET;
static volatile LONG clients, stopping, missing = ACCEPTS;
static SRWLOCK lock = SRWLOCK_INIT;  /* to post an ACCEPT, or end them */
static LPFN_ACCEPTEX lpfnAcceptEx;

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
    if (ioInfo->rwMode == ACCEPT)
        InterlockedIncrement(&missing);
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
    DWORD bytes, flags = 0;
    int result;

    memset(&ioInfo->overlapped, 0, sizeof ioInfo->overlapped);
    ioInfo->rwMode = rwMode;
    if (rwMode == READ) {
        ioInfo->wsaBuf.buf = ioInfo->buffer;
        ioInfo->wsaBuf.len = BUF_SIZE;
        result = WSARecv(handleInfo->hClntSock, &ioInfo->wsaBuf, 1, NULL,
                         &flags, &ioInfo->overlapped, NULL);
    } else if (rwMode == ACCEPT) {
        result = !lpfnAcceptEx(hServSock, handleInfo->hClntSock,
                               ioInfo->buffer, 0, ADR_SIZE, ADR_SIZE, &bytes,
                               &ioInfo->overlapped);
    } else {
        result = WSASend(handleInfo->hClntSock, &ioInfo->wsaBuf, 1, NULL, 0,
                         &ioInfo->overlapped, NULL);
    }
    if (result != 0 && GetLastError() != WSA_IO_PENDING)
        CloseClient(handleInfo, ioInfo, GetLastError());
}

/* Has one more ACCEPT wait for a client. */
static void PostAccept(void)
{
    LPPER_IO_DATA ioInfo = (LPPER_IO_DATA)malloc(sizeof *ioInfo);
    LPPER_HANDLE_DATA handleInfo;

    handleInfo = (LPPER_HANDLE_DATA)calloc(1, sizeof *handleInfo);
    Check(handleInfo != NULL && ioInfo != NULL, "malloc");
    InterlockedIncrement(&clients);
    ioInfo->handleInfo = handleInfo;
    ioInfo->rwMode = ACCEPT;
    handleInfo->hClntSock = WSASocketW(AF_INET, SOCK_STREAM, 0, NULL, 0,
                                       WSA_FLAG_OVERLAPPED);
    AcquireSRWLockShared(&lock);
    if (handleInfo->hClntSock != INVALID_SOCKET)
        Post(handleInfo, ioInfo, ACCEPT);
    else
        CloseClient(handleInfo, ioInfo, GetLastError());
    ReleaseSRWLockShared(&lock);
}

/* An ACCEPT is done: another takes its place, and its client begins. */
static void StartClient(LPPER_HANDLE_DATA handleInfo, LPPER_IO_DATA ioInfo)
{
    SOCKET hClntSock = handleInfo->hClntSock;
    HANDLE hPort;
    int size = sizeof handleInfo->clntAdr, code;

    code = setsockopt(hClntSock, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT,
                      (const char *)&hServSock, sizeof hServSock);
    if (code == 0)
        code = getpeername(hClntSock, (SOCKADDR *)&handleInfo->clntAdr, &size);
    if (code != 0) {
        CloseClient(handleInfo, ioInfo, GetLastError());
        return;
    }
    PostAccept();
    PrintClient("accept", 0, &handleInfo->clntAdr);
    hPort = CreateIoCompletionPort((HANDLE)hClntSock, hComPort,
                                   (ULONG_PTR)handleInfo, 0);
    Check(hPort != NULL, "CreateIoCompletionPort");
    Post(handleInfo, ioInfo, READ);
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
            CloseClient(ioInfo->handleInfo, ioInfo, GetLastError());
        } else if (ioInfo->rwMode == ACCEPT) {
            StartClient(ioInfo->handleInfo, ioInfo);
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

/* The system calls this in a thread of its own. FALSE: the program ends at
 * once, as without this function; so does a second Ctrl+C. */
static BOOL WINAPI OnControl(DWORD event)
{
    if ((event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT)
        || InterlockedExchange(&stopping, TRUE))
        return FALSE;
    return TRUE;
}

int main(int argc, char *argv[])
{
    HANDLE hThreads[MAXIMUM_WAIT_OBJECTS];  /* GetSystemInfo counts 64 */
    GUID acceptEx = WSAID_ACCEPTEX;
    SYSTEM_INFO sysInfo;
    DWORD i, bytes;

    Check(SetConsoleCtrlHandler(OnControl, TRUE), "SetConsoleCtrlHandler");
    hServSock = Listen(argc, argv);
    /* A new port, which gets the packets of the listening socket. */
    hComPort = CreateIoCompletionPort((HANDLE)hServSock, NULL, 0, 0);
    Check(hComPort != NULL, "CreateIoCompletionPort");
    GetSystemInfo(&sysInfo);
    for (i = 0; i < sysInfo.dwNumberOfProcessors; ++i) {
        hThreads[i] = (HANDLE)_beginthreadex(NULL, 0, EchoThreadMain, hComPort,
                                             0, NULL);
        Check(hThreads[i] != NULL, "_beginthreadex");
    }
    Check(WSAIoctl(hServSock, SIO_GET_EXTENSION_FUNCTION_POINTER, &acceptEx,
                   sizeof acceptEx, &lpfnAcceptEx, sizeof lpfnAcceptEx, &bytes,
                   NULL, NULL)
              == 0,
          "WSAIoctl");
    for (; !InterlockedExchangeAdd(&stopping, 0); Sleep(100))
        for (i = (DWORD)InterlockedExchange(&missing, 0); i > 0; --i)
            PostAccept();
    AcquireSRWLockExclusive(&lock);
    closesocket(hServSock);  /* its ACCEPTs end, each with its packet */
    hServSock = INVALID_SOCKET;
    ReleaseSRWLockExclusive(&lock);
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
