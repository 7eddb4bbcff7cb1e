/*
 * stable_echo_client.c - the chapter's client, StableEchoCln_win, corrected.
 *
 * What it shows: TCP delivers bytes, not messages. One send may come back in
 * several pieces, so the client receives until it has as many bytes as it has
 * sent. That is so with every server, blocking or not.
 *
 * What the listing gets wrong:
 * - It receives up to BUF_SIZE - 1 bytes at &message[readLen]: from the
 *   second piece on that reaches beyond the buffer's end. Here a receive asks
 *   for what is still missing.
 * - It adds what recv returns, without a look. Where the server has closed,
 *   recv returns 0, and the loop never ends. Where recv fails, it returns -1,
 *   and the count goes backwards.
 * - Where the input ends, fgets returns NULL and leaves the last line as it
 *   was, which is then sent for ever.
 * - send may take less than it was given, if the socket is non-blocking.
 *
 * An input line longer than the buffer goes in pieces, each a message.
 *
 *   stable_echo_client ADDRESS PORT      an IPv4 address, as 127.0.0.1
 *
 * Q or q, or the end of the input, ends it. Exit status: 1 could not go on, 2
 * wrong command line.
 */
#define WIN32_LEAN_AND_MEAN
#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM  "stable_echo_client"
#define BUF_SIZE 1024

/* For what the client can't do without. */
static void Check(BOOL ok, const char *call)
{
    if (!ok) {
        fprintf(stderr, PROGRAM ": %s failed: code %lu\n", call,
                GetLastError());  /* WSAGetLastError is the same */
        ExitProcess(1);
    }
}

static SOCKET Connect(const char *address, const char *port)
{
    WSADATA wsaData;
    SOCKET hSocket;
    SOCKADDR_IN servAdr = {0};

    SetLastError((DWORD)WSAStartup(MAKEWORD(2, 2), &wsaData));
    Check(GetLastError() == 0, "WSAStartup");
    servAdr.sin_family = AF_INET;
    servAdr.sin_port = htons((u_short)strtol(port, NULL, 10));
    if (inet_pton(AF_INET, address, &servAdr.sin_addr) != 1
        || port[strspn(port, "0123456789")] != '\0' || servAdr.sin_port == 0
        || strtol(port, NULL, 10) > 65535) {
        fprintf(stderr, PROGRAM ": no IPv4 address and port: %s %s\n", address,
                port);
        ExitProcess(2);
    }
    hSocket = socket(PF_INET, SOCK_STREAM, 0);
    Check(hSocket != INVALID_SOCKET, "socket");
    Check(connect(hSocket, (SOCKADDR *)&servAdr, sizeof servAdr) == 0,
          "connect");
    return hSocket;
}

static void SendAll(SOCKET hSocket, const char *message, int strLen)
{
    int sendLen = 0;

    while (sendLen < strLen) {
        int result = send(hSocket, message + sendLen, strLen - sendLen, 0);

        Check(result > 0, "send");
        sendLen += result;
    }
}

/* Receives as many bytes as were sent, in one piece or in several. */
static void ReceiveAll(SOCKET hSocket, char *message, int strLen)
{
    int readLen = 0;

    while (readLen < strLen) {
        int result = recv(hSocket, message + readLen, strLen - readLen, 0);

        Check(result >= 0, "recv");
        if (result == 0) {
            fprintf(stderr,
                    PROGRAM ": the server closed the connection after "
                            "%d of %d bytes\n",
                    readLen, strLen);
            ExitProcess(1);
        }
        readLen += result;
    }
}

int main(int argc, char *argv[])
{
    SOCKET hSocket;
    char message[BUF_SIZE];

    if (argc != 3) {
        fprintf(stderr, PROGRAM ": usage: " PROGRAM " ADDRESS PORT\n");
        return 2;
    }
    hSocket = Connect(argv[1], argv[2]);
    for (;;) {
        int strLen;

        fputs("Input message(Q to quit): ", stdout);
        fflush(stdout);
        if (fgets(message, BUF_SIZE, stdin) == NULL || !strcmp(message, "q\n")
            || !strcmp(message, "Q\n"))
            break;
        strLen = (int)strlen(message);
        SendAll(hSocket, message, strLen);
        ReceiveAll(hSocket, message, strLen);
        message[strLen] = '\0';
        printf("Message from server: %s", message);
    }
    closesocket(hSocket);
    WSACleanup();
    return 0;
}
