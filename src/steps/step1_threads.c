/*
 * step1_threads.c - an echo server with a thread for each client.
 *
 * The problem before: a server of one thread that waits in recv for one client
 * can't serve another meanwhile. What this step shows: main waits in accept,
 * and each client has a thread that waits in recv and send. Nothing is shared,
 * and the code of a client reads from top to bottom.
 *
 * Its problem: a client that does nothing costs a thread. That is a stack (by
 * default 1 MB of addresses, 2 MB as MinGW links it), objects of the kernel,
 * and a switch of threads for each message. In a process of 32 bits there are
 * addresses for some two thousand, then the next client is closed. Under Wine
 * 8 an idle client takes 1 MB of memory, in step 4 it takes 4 KB. In
 * step2_events.c one thread waits for many clients at once.
 *
 *   step1_threads PORT      0: the system chooses
 *
 * It prints "close" for a client that has closed, "failed" for one it closed
 * itself because an operation failed. Ctrl+C ends it as it ends any program:
 * at once, wherever it is. Exit status: 1 could not run, 2 wrong command line.
 */
#include <winsock2.h>  /* it includes windows.h */

#include <process.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM  "step1_threads"
#define BUF_SIZE 4096
#define BACKLOG  (-65535)  /* SOMAXCONN_HINT(65535): SOMAXCONN is some 200 */

typedef struct {  /* socket info: what its thread is given */
    SOCKET hClntSock;
    SOCKADDR_IN clntAdr;
} PER_HANDLE_DATA, *LPPER_HANDLE_DATA;

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

static void CloseClient(LPPER_HANDLE_DATA handleInfo, DWORD code)
{
    PrintClient(code == 0 ? "close" : "failed", code, &handleInfo->clntAdr);
    closesocket(handleInfo->hClntSock);
    free(handleInfo);
}

/* Serves one client, from its first byte to its last. */
static unsigned WINAPI EchoThreadMain(LPVOID arg)
{
    LPPER_HANDLE_DATA handleInfo = (LPPER_HANDLE_DATA)arg;
    char buffer[BUF_SIZE];
    int strLen, sent, result = 1;

    do {
        strLen = recv(handleInfo->hClntSock, buffer, BUF_SIZE, 0);
        for (sent = 0; sent < strLen && result > 0; sent += result)
            result = send(handleInfo->hClntSock, buffer + sent, strLen - sent,
                          0);
    } while (strLen > 0 && result > 0);
    CloseClient(handleInfo, strLen == 0 ? 0 : GetLastError());
    return 0;
}

static void StartClient(SOCKET hClntSock, const SOCKADDR_IN *clntAdr)
{
    LPPER_HANDLE_DATA handleInfo;
    HANDLE hThread;

    handleInfo = (LPPER_HANDLE_DATA)malloc(sizeof *handleInfo);
    Check(handleInfo != NULL, "malloc");
    handleInfo->hClntSock = hClntSock;
    handleInfo->clntAdr = *clntAdr;
    PrintClient("accept", 0, clntAdr);
    hThread = (HANDLE)_beginthreadex(NULL, 0, EchoThreadMain, handleInfo, 0,
                                     NULL);
    if (hThread == NULL)  /* one thread too many: this client has none */
        CloseClient(handleInfo, GetLastError());
    else
        CloseHandle(hThread);  /* the thread goes on; nobody waits for it */
}

int main(int argc, char *argv[])
{
    SOCKET hServSock = Listen(argc, argv);

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
