/*
 * step4_iocp.c - the chapter's IOCP server, as short as a correct one can be.
 *
 * The problem before: in step 3 one thread does everything, and a new client
 * waits until it has slept. What this step shows: main waits in accept, and as
 * many threads as there are CPUs wait in GetQueuedCompletionStatus. All
 * sockets are associated with one completion port. Whatever operation is done,
 * one thread gets its packet: the number of bytes, the key that was given with
 * the socket (handleInfo: whose) and the OVERLAPPED that was given with the
 * operation (ioInfo: which).
 *
 * Unlike in the chapter's listing, a client has one PER_IO_DATA, which goes
 * READ, WRITE, READ. So it has one packet, and one thread at a time; at its
 * end of file no send still uses what is freed; and no sends pile up for a
 * client that never reads. The key is a ULONG_PTR, since (DWORD) would cut a
 * 64-bit address in half. A failed operation ends its client and no other.
 *
 * Its problem: it has no end. Ctrl+C ends it as it ends any program, at once,
 * with bytes received and not yet echoed. And the threads wait for ever: there
 * is no packet that tells one to end, and no moment when it may. step5_end.c
 * has both.
 *
 *   step4_iocp PORT      0: the system chooses
 *
 * It prints "close" for a client that has closed, "failed" for one it closed
 * itself because an operation failed. Exit status: 1 could not run, 2 wrong
 * command line.
 */
#include <winsock2.h>  /* it includes windows.h */

#include <process.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM  "step4_iocp"
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
            return 0;  /* posted by hand, which nobody does here */
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
    handleInfo->hClntSock = hClntSock;
    handleInfo->clntAdr = *clntAdr;
    PrintClient("accept", 0, clntAdr);
    hPort = CreateIoCompletionPort((HANDLE)hClntSock, hComPort,
                                   (ULONG_PTR)handleInfo, 0);
    Check(hPort != NULL, "CreateIoCompletionPort");
    Post(handleInfo, ioInfo, READ);
}

int main(int argc, char *argv[])
{
    SOCKET hServSock = Listen(argc, argv);
    SYSTEM_INFO sysInfo;
    DWORD i;

    hComPort = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0);
    Check(hComPort != NULL, "CreateIoCompletionPort");
    GetSystemInfo(&sysInfo);
    for (i = 0; i < sysInfo.dwNumberOfProcessors; ++i) {
        HANDLE hThread = (HANDLE)_beginthreadex(NULL, 0, EchoThreadMain,
                                                hComPort, 0, NULL);

        Check(hThread != NULL, "_beginthreadex");
        CloseHandle(hThread);  /* the thread goes on; nobody waits for it */
    }
    for (;;) {
        SOCKADDR_IN clntAdr;
        int adrSz = sizeof clntAdr;
        SOCKET hClntSock = accept(hServSock, (SOCKADDR *)&clntAdr, &adrSz);
        DWORD reason = GetLastError();

        if (hClntSock != INVALID_SOCKET) {
            StartClient(hClntSock, &clntAdr);
            continue;
        }
        fprintf(stderr, PROGRAM ": accept failed: code %lu\n", reason);
        if (reason == WSAEMFILE || reason == WSAENOBUFS)
            Sleep(100);  /* until there is room again */
    }
}
