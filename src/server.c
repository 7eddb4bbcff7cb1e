/*
 * server.c - the chapter's main function, taken apart.
 *
 *     main thread                          workers (one per CPU)
 *     port, listener, workers
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
#include "address.h"
#include "log.h"
#include "trace.h"
#include "work.h"

#include <stdio.h>
#include <stdlib.h>

#define SWEEP_INTERVAL 250  /* ms; idle connections may end this much later */
#define ACCEPT_PAUSE   100  /* ms to wait when out of resources             */

/* -------------------------------- stopping ------------------------------- */

BOOL server_init(SERVER *server)
{
    InitializeSRWLock(&server->listener.lock);
    return stop_open(&server->stop);
}

void server_stop(SERVER *server, const char *reason)
{
    if (!stop_begin(&server->stop, reason))
        stop_cut(&server->stop);
    listener_close(&server->listener);  /* releases main from accept */
}

/* Stops the server as usual, but with exit status 1. If it stops already this
 * does not cut the drain. */
static void fail(SERVER *server, const char *reason)
{
    server->exitStatus = 1;
    stop_begin(&server->stop, reason);
}

static void close_listener(SERVER *server)
{
    int code = listener_close(&server->listener);

    if (code != 0)
        log_failure("closesocket (listener)", code, NULL);
}

/* -------------------------------- starting ------------------------------- */

/* The chapter's GetSystemInfo counts the CPUs of one processor group, which has
 * 64 at most; it can't fail, and stands in where the other does. */
static DWORD cpu_count(void)
{
    DWORD count = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    SYSTEM_INFO sysInfo;

    GetSystemInfo(&sysInfo);
    return count != 0 ? count : sysInfo.dwNumberOfProcessors;
}

static BOOL create_port(SERVER *server)
{
    server->hComPort = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0,
                                              server->options->concurrency);
    return log_unless(server->hComPort != NULL, "CreateIoCompletionPort");
}

static BOOL start_workers(SERVER *server, DWORD count)
{
    const OPTIONS *options = server->options;
    BOOL plain = options->batch == 1 && options->inlineLimit == 0;
    DWORD i;

    server->workers = calloc(count, sizeof *server->workers);
    if (server->workers == NULL) {
        log_error("no memory for %lu workers", count);
        return FALSE;
    }
    for (i = 0; i < count; ++i) {
        BATCH_WORKER *batch = &server->workers[i];

        batch->worker.hComPort = server->hComPort;
        batch->worker.id = i + 1;
        batch->worker.options = options;
        batch->worker.stop = &server->stop;
        batch->registry = &server->registry;
        batch->workers = count;
    }
    return pool_start(&server->pool, count,
                      plain ? EchoThreadMain : BatchThreadMain,
                      server->workers, sizeof *server->workers);
}

/* The sweeper: only for what has to be done now and then. */
static unsigned WINAPI SweepThreadMain(LPVOID pServer)
{
    SERVER *server = pServer;

    TRACE(trace_thread("sweep", 0));
    while (!stop_wait(&server->stop, SWEEP_INTERVAL)) {
        if (server->options->idleTimeout != 0)
            registry_cancel_idle(&server->registry);
        buffers_trim(&server->buffers);
    }
    return 0;
}

static BOOL start_sweeper(SERVER *server)
{
    return (server->options->idleTimeout == 0
            && !server->options->zeroByteRecv)
           || pool_start(&server->sweeper, 1, SweepThreadMain, server, 0);
}

/* -------------------------------- accepting ------------------------------ */

/* Returns whether a failed accept is about the client alone: it was reset, or
 * has gone, while it waited. */
static BOOL is_about_the_client(int code)
{
    return code == WSAECONNRESET || code == WSAECONNABORTED
           || code == WSAENOTCONN || code == WSAETIMEDOUT
           || code == WSAENETRESET || code == WSAEHOSTUNREACH
           || code == WSAENETUNREACH;
}

/* Only a listener that is gone ends the server. */
static void accept_failed(SERVER *server, int code)
{
    if (is_about_the_client(code)) {
        /* No pause: a client that is reset over and over must not slow down
         * the others. */
        log_failure("accept", code, "this client only; going on");
        return;
    }
    if (!listener_listens(&server->listener)) {
        if (stop_begun(&server->stop))
            return;  /* closed meanwhile */
        log_failure("accept", code, "the listener is gone");
        fail(server, "listener-lost");
        return;
    }
    log_failure("accept", code, "clients wait until connections have ended");
    stop_wait(&server->stop, ACCEPT_PAUSE);
}

static void accept_loop(SERVER *server)
{
    /* The limit comes before accept: those over it wait in the backlog, where
     * they cost nothing here, and are served when a place is free. */
    while (registry_wait_for_place(&server->registry,
                                   server->options->maxConnections)) {
        SOCKADDR_INET clntAdr;
        int code;
        SOCKET hClntSock = listener_accept(&server->listener, &clntAdr, &code);
        LPPER_HANDLE_DATA handleInfo;

        if (hClntSock == INVALID_SOCKET) {
            /* By our own state: the code for a listener closed while accept
             * waits is not the same on every system. */
            if (!stop_begun(&server->stop))
                accept_failed(server, code);
            continue;
        }
        handleInfo = connection_open(&server->registry, &server->buffers,
                                     server->hComPort, hClntSock, &clntAdr,
                                     ++server->accepted);
        if (handleInfo != NULL)  /* from here on it is the workers' */
            connection_read(handleInfo, FALSE);
    }
}

/* ------------------------------ the whole life --------------------------- */

/* What only some modes tell apart is printed only there. */
static void report_worker(const SERVER *server, const BATCH_WORKER *batch)
{
    char waits[32] = "", inlined[32] = "";

    if (server->options->batch > 1)
        snprintf(waits, sizeof waits, " waits=%llu", batch->waits);
    if (server->options->inlineLimit > 0)
        snprintf(inlined, sizeof inlined, " inline=%llu", batch->inlined);
    log_event("worker id=%lu completions=%llu%s%s", batch->worker.id,
              batch->worker.completions, waits, inlined);
}

static void report_totals(const SERVER *server)
{
    const REGISTRY *registry = &server->registry;
    DWORD i;

    for (i = 0; i < server->pool.count; ++i)
        report_worker(server, &server->workers[i]);
    log_event("stopped connections=%llu received=%llu sent=%llu failed=%llu "
              "live=%ld",
              registry->connections, registry->received, registry->sent,
              registry->failed, registry->live);
}

/* Prints the ready line once everything is there. */
static BOOL start(SERVER *server, DWORD workers, DWORD concurrency)
{
    SOCKADDR_INET address = server->options->address;
    char text[ADDRESS_TEXT];
    u_short port;

    if (!create_port(server)
        || !listener_open(&server->listener, &address,
                          server->options->anyAddress))
        return FALSE;
    /* A stop may have come before there was a listener for it to close. */
    if (stop_begun(&server->stop))
        close_listener(server);
    if (!start_workers(server, workers) || !start_sweeper(server))
        return FALSE;
    port = address_text(&address, text);
    log_event("ready port=%u address=%s workers=%lu concurrency=%lu", port,
              text, workers, concurrency);
    return TRUE;
}

static void serve(SERVER *server)
{
    work_post(server->options, server->hComPort);
    accept_loop(server);
    TRACE(trace_stop(server->stop.reason));
    close_listener(server);  /* or waits until the handler has closed it */
    TRACE(trace_moment("listener closed"));
    log_event("stopping reason=%s live=%ld", (const char *)server->stop.reason,
              server->registry.live);
    registry_drain(&server->registry, server->options->drainTimeout * 1000);
}

/* No connection is left, so the only packets from here on are sentinels. */
static void stop_threads(SERVER *server)
{
    pool_join(&server->sweeper);
    pool_post_sentinels(server->hComPort, server->pool.count);
    pool_join(&server->pool);
}

int server_run(SERVER *server, const OPTIONS *options)
{
    DWORD cpus = cpu_count();
    DWORD workers = options->workers != 0 ? options->workers : cpus;
    DWORD concurrency = options->concurrency != 0 ? options->concurrency
                                                  : cpus;
    BOOL ready;

    server->options = options;
    buffers_open(&server->buffers, options->largestBuffer,
                 options->zeroByteRecv != 0);
    if (!registry_open(&server->registry, &server->stop,
                       options->idleTimeout * 1000))
        return 1;
    trace_open(options, workers, concurrency, cpus);
    ready = start(server, workers, concurrency);
    if (ready)
        serve(server);
    else
        fail(server, "not-ready");
    stop_threads(server);
    trace_close();
    if (ready)
        report_totals(server);
    close_listener(server);
    if (server->hComPort != NULL)
        log_unless(CloseHandle(server->hComPort), "CloseHandle (port)");
    registry_close(&server->registry);
    buffers_close(&server->buffers);
    free(server->workers);
    return server->exitStatus;
}
