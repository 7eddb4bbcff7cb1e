/*
 * server.c - the chapter's main function, taken apart.
 *
 *     main thread                          workers (one per CPU)
 *     port, workers, listener
 *     accept -> connection_open            GetQueuedCompletionStatus
 *               first READ  - - - - - ->   READ -> WRITE -> READ ...
 *     Ctrl+C: the listener is closed,      cancelled packets
 *     receives are cancelled, sends end,
 *     everything is cancelled
 *     no connection left: sentinels - ->   each takes one, and ends
 *     join, close the port
 *
 * The order of the last three lines is what makes the end safe: a sentinel
 * posted while a connection lives could overtake its packets.
 */
#include "server.h"
#include "connection.h"
#include "registry.h"
#include "worker.h"

#include <process.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_SWEEP_INTERVAL 250  /* ms: idle connections end this late */
#define ACCEPT_PAUSE        100  /* ms to wait when out of resources */
#define WORKER_STACK        (256u * 1024u)  /* reserved; it needs a fraction */

static HANDLE hComPort;
static WORKER *workers;
static DWORD workersStarted;
static volatile LONG workersLost;
static HANDLE hIdleThread;
static volatile LONG exitStatus;

/* Shared with server_stop, which any thread may call: see there. */
static void *volatile stopReason;  /* const char *; NULL while running */
static void *volatile listener = (void *)INVALID_SOCKET;

/* -------------------------------- stopping ------------------------------- */

/* Closes the listening socket, exactly once: the exchange gives it to one
 * caller only, whether that is the stop or the end of server_run. */
static void close_listener(void)
{
    SOCKET sock = (SOCKET)InterlockedExchangePointer(&listener,
                                                     (void *)INVALID_SOCKET);

    if (sock != INVALID_SOCKET && closesocket(sock) != 0)
        log_failure("closesocket (listener)", WSAGetLastError(), NULL);
}

void server_stop(const char *reason)
{
    BOOL again = InterlockedCompareExchangePointer(
                     &stopReason, (void *)(ULONG_PTR)reason, NULL) != NULL;

    registry_stop();
    if (again)
        return;
    /* This releases main from accept. Main alone makes sockets, so no new one
     * can get the same handle between this and main's next accept, which then
     * fails too. */
    close_listener();
}

/* The server can't go on: stop it as usual, but with exit status 1. */
static void fail(const char *reason)
{
    InterlockedExchange(&exitStatus, 1);
    /* Not a second request if the user was first: the drain goes on. */
    if (!registry_stopping())
        server_stop(reason);
}

void server_worker_lost(DWORD id, DWORD code)
{
    log_failure("GetQueuedCompletionStatus", (int)code, "the worker ends");
    log_event("worker-lost id=%lu", id);
    fail("worker-lost");
    if ((DWORD)InterlockedIncrement(&workersLost) == workersStarted)
        registry_abandon();
}

/* ---------------------------- port and workers --------------------------- */

static BOOL create_port(DWORD concurrency)
{
    hComPort = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0,
                                      concurrency);
    if (hComPort == NULL)
        log_failure("CreateIoCompletionPort", (int)GetLastError(), NULL);
    return hComPort != NULL;
}

static BOOL start_workers(DWORD count)
{
    DWORD i;

    workers = calloc(count, sizeof *workers);
    if (workers == NULL) {
        log_error("no memory for %lu workers", count);
        return FALSE;
    }
    for (i = 0; i < count; ++i) {
        workers[i].hComPort = hComPort;
        workers[i].id = i + 1;
        workers[i].hThread = (HANDLE)_beginthreadex(
            NULL, WORKER_STACK, EchoThreadMain, &workers[i],
            STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
        if (workers[i].hThread == NULL) {
            log_failure("_beginthreadex", (int)GetLastError(),
                        "try fewer --workers");
            return FALSE;
        }
        workersStarted = i + 1;
    }
    return TRUE;
}

static void join(HANDLE hThread)
{
    if (WaitForSingleObject(hThread, INFINITE) != WAIT_OBJECT_0)
        log_failure("WaitForSingleObject", (int)GetLastError(), NULL);
    if (!CloseHandle(hThread))
        log_failure("CloseHandle (thread)", (int)GetLastError(), NULL);
}

static void close_port(void)
{
    if (hComPort != NULL && !CloseHandle(hComPort))
        log_failure("CloseHandle (port)", (int)GetLastError(), NULL);
    hComPort = NULL;
}

/* Ends the workers: no connection is left, so the only packets from here on
 * are these. */
static void stop_workers(void)
{
    DWORD i;

    for (i = 0; i < workersStarted; ++i)
        if (!PostQueuedCompletionStatus(hComPort, 0, SENTINEL_KEY, NULL)) {
            /* Then the other way out: without its port, every wait fails. */
            log_failure("PostQueuedCompletionStatus", (int)GetLastError(),
                        "closing the port instead");
            close_port();
            break;
        }
    /* One handle at a time: WaitForMultipleObjects stops at 64. */
    for (i = 0; i < workersStarted; ++i)
        join(workers[i].hThread);
    close_port();
}

/* ---------------------------- idle connections --------------------------- */

static unsigned WINAPI IdleThreadMain(LPVOID unused)
{
    (void)unused;
    while (!registry_wait_for_stop(IDLE_SWEEP_INTERVAL))
        registry_cancel_idle();
    return 0;
}

static BOOL start_idle_thread(DWORD seconds)
{
    registry_set_idle_timeout(seconds * 1000);
    if (seconds == 0)
        return TRUE;
    hIdleThread = (HANDLE)_beginthreadex(NULL, WORKER_STACK, IdleThreadMain,
                                         NULL,
                                         STACK_SIZE_PARAM_IS_A_RESERVATION,
                                         NULL);
    if (hIdleThread == NULL)
        log_failure("_beginthreadex (idle sweep)", (int)GetLastError(), NULL);
    return hIdleThread != NULL;
}

/* -------------------------------- listening ------------------------------ */

static const char *advice_for(int code)
{
    switch (code) {
    case WSAEADDRINUSE:
        return "another program listens there: choose another port, or 0 to "
               "let the system choose";
    case WSAEACCES:
        return "another program has the port for itself, or Windows reserves "
               "it ('netsh interface ipv4 show excludedportrange "
               "protocol=tcp' lists those): choose another port";
    case WSAEADDRNOTAVAIL:
        return "--bind takes an address of this computer ('ipconfig' lists "
               "them)";
    default:
        return NULL;
    }
}

static socklen_t address_size(const SOCKADDR_INET *address)
{
    return address->si_family == AF_INET ? (socklen_t)sizeof address->Ipv4
                                         : (socklen_t)sizeof address->Ipv6;
}

/*
 * A socket that listens on the address, or INVALID_SOCKET with the name of the
 * call that failed in *call and its code in *code.
 */
static SOCKET listen_on(const SOCKADDR_INET *address, const char **call,
                        int *code)
{
    const int on = 1, off = 0;
    SOCKET sock = WSASocketW(address->si_family, SOCK_STREAM, IPPROTO_TCP,
                             NULL, 0, WSA_FLAG_OVERLAPPED);

    if (sock == INVALID_SOCKET) {
        *call = "WSASocket";
        *code = WSAGetLastError();
        return INVALID_SOCKET;
    }
    *call = NULL;
    /* Never SO_REUSEADDR: on Windows it lets any other program take the same
     * port. This does the opposite. */
    if (setsockopt(sock, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, (const char *)&on,
                   sizeof on) != 0)
        *call = "setsockopt(SO_EXCLUSIVEADDRUSE)";
    /* Dual-stack: IPv4 clients reach [::] as ::ffff:a.b.c.d. */
    else if (address->si_family == AF_INET6
             && setsockopt(sock, IPPROTO_IPV6, IPV6_V6ONLY, (const char *)&off,
                           sizeof off) != 0)
        *call = "setsockopt(IPV6_V6ONLY)";
    else if (bind(sock, (const SOCKADDR *)address, address_size(address)) != 0)
        *call = "bind";
    else if (listen(sock, SOMAXCONN) != 0)
        *call = "listen";
    else
        return sock;
    *code = WSAGetLastError();
    if (closesocket(sock) != 0)
        log_failure("closesocket", WSAGetLastError(), NULL);
    return INVALID_SOCKET;
}

/* Whether these failures mean that this computer has no IPv6. */
static BOOL no_ipv6(const char *call, int code)
{
    return code == WSAEAFNOSUPPORT || code == WSAEADDRNOTAVAIL
           || strcmp(call, "setsockopt(IPV6_V6ONLY)") == 0;
}

static BOOL open_listener(const OPTIONS *options)
{
    SOCKADDR_INET address = options->address;
    const char *call;
    int code;
    SOCKET sock = listen_on(&address, &call, &code);

    if (sock == INVALID_SOCKET && options->anyAddress && no_ipv6(call, code)) {
        u_short port = address.Ipv6.sin6_port;

        ZeroMemory(&address, sizeof address);  /* INADDR_ANY */
        address.si_family = AF_INET;
        address.Ipv4.sin_port = port;
        sock = listen_on(&address, &call, &code);
    }
    if (sock == INVALID_SOCKET) {
        log_failure(call, code, advice_for(code));
        return FALSE;
    }
    InterlockedExchangePointer(&listener, (void *)sock);
    /* A stop may have come before there was a listener for it to close. */
    if (registry_stopping())
        close_listener();
    return TRUE;
}

/* "127.0.0.1" or "[::1]", and its port; IPv4 also where IPv6 wraps it, as
 * ::ffff:127.0.0.1 (RFC 4291, 2.5.5.2). */
static void format_address(const SOCKADDR_INET *from, char *text, size_t size,
                           u_short *port)
{
    static const u_char wrap[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};
    SOCKADDR_INET address = *from;
    const u_char *bytes = from->Ipv6.sin6_addr.s6_addr;
    char host[NI_MAXHOST];

    *port = ntohs(from->Ipv4.sin_port);
    if (from->si_family == AF_INET6 && memcmp(bytes, wrap, 12) == 0) {
        ZeroMemory(&address, sizeof address);
        address.si_family = AF_INET;
        memcpy(&address.Ipv4.sin_addr, bytes + 12, 4);
    }
    if (getnameinfo((const SOCKADDR *)&address, address_size(&address), host,
                    sizeof host, NULL, 0, NI_NUMERICHOST) != 0)
        snprintf(host, sizeof host, "unknown");
    snprintf(text, size, address.si_family == AF_INET ? "%s" : "[%s]", host);
}

/* Prints the ready line with the address and port that the system gave. */
static BOOL report_ready(const OPTIONS *options, DWORD cpus)
{
    SOCKADDR_INET address;
    socklen_t size = sizeof address;
    char text[NI_MAXHOST];
    u_short port;

    if (getsockname((SOCKET)listener, (SOCKADDR *)&address, &size) != 0) {
        if (registry_stopping())
            return TRUE;  /* it was closed before it was ready */
        log_failure("getsockname", WSAGetLastError(), NULL);
        return FALSE;
    }
    format_address(&address, text, sizeof text, &port);
    log_event("ready port=%u address=%s workers=%lu concurrency=%lu", port,
              text, workersStarted,
              options->concurrency != 0 ? options->concurrency : cpus);
    return TRUE;
}

/* -------------------------------- accepting ------------------------------ */

static void start_connection(SOCKET hClntSock, const SOCKADDR_INET *clntAdr)
{
    static ULONGLONG accepted = 0;  /* main alone gets here */
    LPPER_HANDLE_DATA handleInfo = connection_open(hClntSock, clntAdr,
                                                   ++accepted, hComPort);

    if (handleInfo == NULL)
        return;
    if (log_is_verbose()) {
        char text[NI_MAXHOST];
        u_short port;

        format_address(clntAdr, text, sizeof text, &port);
        log_detail("accept conn=%llu peer=%s:%u live=%lu", handleInfo->id,
                   text, port, registry_totals().live);
    }
    connection_read(handleInfo);  /* from here on it is the workers' */
}

/*
 * What a failed accept is about: most often the client that was waiting, which
 * has gone again; sometimes the whole system; seldom the listener. The same
 * failure over and over is told once: *told is the code of the last told.
 */
static void accept_failed(int code, int *told)
{
    switch (code) {
    case WSAENOTSOCK:
    case WSAEINVAL:
    case WSAEOPNOTSUPP:
    case WSANOTINITIALISED:
        log_failure("accept", code, "the listener is gone");
        fail("listener-lost");
        break;
    case WSAEMFILE:
    case WSAENOBUFS:
    case WSA_NOT_ENOUGH_MEMORY:
        if (code != *told)
            log_failure("accept", code,
                        "clients wait until connections have ended");
        *told = code;
        registry_wait_for_stop(ACCEPT_PAUSE);
        break;
    default:
        if (code != *told || log_is_verbose())
            log_failure("accept", code, "this client only; going on");
        *told = code;
        break;
    }
}

static void accept_loop(DWORD maxConnections)
{
    int told = 0;

    /* The limit comes before accept: those over it wait in the backlog, where
     * they cost nothing here, and are served when a place is free. */
    while (registry_wait_for_place(maxConnections)) {
        SOCKADDR_INET clntAdr;
        socklen_t size = sizeof clntAdr;
        SOCKET hClntSock = accept((SOCKET)listener, (SOCKADDR *)&clntAdr,
                                  &size);

        if (hClntSock != INVALID_SOCKET)
            start_connection(hClntSock, &clntAdr);
        else {
            int code = WSAGetLastError();

            /* By our own flag: the code for a listener closed while accept
             * waits is not the same on every system. */
            if (!registry_stopping())
                accept_failed(code, &told);
        }
    }
}

/* ------------------------------ the whole life --------------------------- */

static void report_totals(void)
{
    REGISTRY_TOTALS totals = registry_totals();
    DWORD i;

    for (i = 0; i < workersStarted; ++i)
        log_event("worker id=%lu completions=%llu", workers[i].id,
                  workers[i].completions);
    log_event("stopped connections=%llu received=%llu sent=%llu failed=%llu "
              "live=%lu", totals.connections, totals.received, totals.sent,
              totals.failed, totals.live);
}

int server_run(const OPTIONS *options)
{
    DWORD cpus = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    BOOL ready;

    if (cpus == 0) {
        log_failure("GetActiveProcessorCount", (int)GetLastError(), NULL);
        return 1;
    }
    ready = create_port(options->concurrency)
            && start_workers(options->workers != 0 ? options->workers : cpus)
            && start_idle_thread(options->idleTimeout)
            && open_listener(options) && report_ready(options, cpus);
    if (ready) {
        accept_loop(options->maxConnections);
        log_event("stopping reason=%s live=%lu", (const char *)stopReason,
                  registry_totals().live);
    } else {
        fail("not-ready");
    }

    if (!registry_drain(options->drainTimeout * 1000))
        exitStatus = 1;
    stop_workers();
    if (hIdleThread != NULL)
        join(hIdleThread);
    if (ready)
        report_totals();
    return (int)exitStatus;
}
