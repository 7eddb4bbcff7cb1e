/*
 * main.c - the chapter's main function, taken apart: the order of a life.
 *
 * An IOCP echo server after chapter 23 of "Yoon Sung-woo's TCP/IP Socket
 * Programming" (Korean). Reading order: connection.h (what comes back with a
 * packet), worker.c (what is done with it), connection.c, this file (start,
 * accept, stop), registry.c (the stop's other half), and the others for
 * completeness. A line that begins with TRACE changes nothing: see trace.h.
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
#include "batch.h"
#include "console.h"
#include "listener.h"
#include "log.h"
#include "pool.h"
#include "trace.h"
#include "work.h"
#include "worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_INTERVAL 250  /* ms; idle connections may end this much later */
#define ACCEPT_PAUSE   100  /* ms to wait when out of resources             */

/* What main alone has. */
typedef struct {
    SERVER server;
    WORKER workers[MAX_WORKERS];
    BATCH *batches;  /* one for each worker, or NULL                        */
    POOL pool;       /* the workers' threads                                */
    POOL sweeper;    /* one thread, or none                                 */
    int exitStatus;
} PROGRAM;

/* Stops the server as usual, but with exit status 1. If it stops already this
 * does not cut the drain, and waits until the listener is closed: by then
 * nothing of Winsock's is left to a thread of the console. */
static void fail(PROGRAM *program, const char *reason)
{
    program->exitStatus = 1;
    if (!stop_begin(&program->server.stop, reason))
        stop_wait(&program->server.stop, INFINITE);
}

/* -------------------------------- starting ------------------------------- */

/* Makes a server of its options, without threads. */
static BOOL prepare(SERVER *server)
{
    const OPTIONS *options = &server->options;

    logLevel = (LOG_LEVEL)options->logLevel;
    buffers_open(&server->buffers, options->largestBuffer,
                 options->zeroByteRecv != 0);
    if (!stop_open(&server->stop) || !console_open(&server->stop)
        || !registry_open(&server->registry, &server->stop,
                          options->idleTimeout * 1000,
                          (LONG)options->maxConnections))
        return FALSE;
    if (options->traceFile != NULL)
        trace_open(options->traceFile);
    TRACE(trace_info(options->workers, options->concurrency, options->cpus,
                     options->workTime, options->workSpins));
    return TRUE;
}

static BOOL start_workers(PROGRAM *program)
{
    const OPTIONS *options = &program->server.options;
    BOOL plain = options->batch == 1 && options->inlineLimit == 0;
    DWORD i;

    program->batches = plain ? NULL
                             : calloc(options->workers,
                                      sizeof *program->batches);
    if (!plain && program->batches == NULL) {
        log_error("no memory for %lu workers", options->workers);
        return FALSE;
    }
    for (i = 0; i < options->workers; ++i) {
        WORKER *worker = &program->workers[i];

        worker->server = &program->server;
        worker->id = i + 1;
        if (plain)
            continue;
        program->batches[i].server = &program->server;
        worker->take = batch_take;
        worker->from = &program->batches[i];
    }
    return pool_start(&program->pool, options->workers, EchoThreadMain,
                      program->workers, sizeof *program->workers);
}

/* The sweeper: only for what has to be done now and then. */
static unsigned WINAPI SweepThreadMain(LPVOID pServer)
{
    SERVER *server = pServer;

    TRACE(trace_thread("sweep", 0));
    while (!stop_wait(&server->stop, SWEEP_INTERVAL)) {
        registry_sweep(&server->registry);
        buffers_trim(&server->buffers);
    }
    return 0;
}

/* Prints the ready line once everything is there. */
static BOOL start(PROGRAM *program)
{
    SERVER *server = &program->server;
    const OPTIONS *options = &server->options;
    BOOL sweeps = options->idleTimeout != 0 || options->zeroByteRecv;
    SOCKADDR_INET address = options->address;
    char text[ADDRESS_TEXT];
    SOCKET listener;

    server->hComPort = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0,
                                              options->concurrency);
    if (!log_unless(server->hComPort != NULL, "CreateIoCompletionPort"))
        return FALSE;
    listener = listener_open(&address);
    if (listener == INVALID_SOCKET)
        return FALSE;
    stop_takes(&server->stop, listener);
    if (!start_workers(program)
        || !pool_start(&program->sweeper, sweeps ? 1 : 0, SweepThreadMain,
                       server, 0))
        return FALSE;
    log_address(&address, text);
    *strrchr(text, ':') = '\0';  /* the port has a key of its own */
    log_event("ready port=%u address=%s workers=%lu concurrency=%lu",
              ntohs(address.Ipv4.sin_port), text, options->workers,
              options->concurrency);
    return TRUE;
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

/* The listener may be closed at any moment, and its number given out again before
 * a call gets it. But main alone makes sockets, and main is the one that calls:
 * then it is the handle of something else, and the call fails. So it is decided
 * by our own state: the code for a listener closed while accept waits is not the
 * same on every system. Only a listener that is gone ends the server. */
static void accept_failed(PROGRAM *program, int code)
{
    STOP *stop = &program->server.stop;

    if (stop_begun(stop))
        return;
    if (is_about_the_client(code)) {
        /* No pause: a client that is reset over and over must not slow down
         * the others. */
        log_failure(code, "this client only; going on", "accept");
    } else if (listener_listens(stop->listener)) {
        log_failure(code, "clients wait until connections have ended",
                    "accept");
        stop_wait(stop, ACCEPT_PAUSE);
    } else if (!stop_begun(stop)) {  /* not closed meanwhile */
        log_failure(code, "the listener is gone", "accept");
        fail(program, "listener-lost");
    }
}

static void accept_loop(PROGRAM *program)
{
    SERVER *server = &program->server;
    ULONGLONG accepted = 0;

    /* The limit comes before accept: those over it wait in the backlog, where
     * they cost nothing here, and are served when a place is free. */
    while (registry_wait_for_place(&server->registry)) {
        SOCKADDR_INET clntAdr;
        socklen_t size = sizeof clntAdr;
        SOCKET hClntSock = accept(server->stop.listener, (SOCKADDR *)&clntAdr,
                                  &size);
        LPPER_HANDLE_DATA handleInfo;

        if (hClntSock == INVALID_SOCKET) {
            accept_failed(program, WSAGetLastError());
            continue;
        }
        handleInfo = connection_open(server, hClntSock, &clntAdr, ++accepted);
        if (handleInfo != NULL)  /* from here on it is the workers' */
            connection_read(handleInfo, FALSE);
    }
}

/* -------------------------------- stopping ------------------------------- */

static void serve(PROGRAM *program)
{
    SERVER *server = &program->server;

    work_post(&server->options, server->hComPort);
    accept_loop(program);
    TRACE(trace_stop(server->stop.reason));
    stop_wait(&server->stop, INFINITE);  /* until the listener is closed */
    TRACE(trace_moment("listener closed"));
    log_event("stopping reason=%s live=%ld", (const char *)server->stop.reason,
              server->registry.live);
    registry_drain(&server->registry, server->options.drainTimeout * 1000);
}

/* What only some modes tell apart is printed only there. */
static void report_worker(const WORKER *worker)
{
    const OPTIONS *options = &worker->server->options;
    const BATCH *batch = worker->from;
    char waits[32] = "", inlined[32] = "";

    if (options->batch > 1)
        snprintf(waits, sizeof waits, " waits=%llu", batch->waits);
    if (options->inlineLimit > 0)
        snprintf(inlined, sizeof inlined, " inline=%llu", batch->inlined);
    log_event("worker id=%lu completions=%llu%s%s", worker->id,
              worker->completions - (batch != NULL ? batch->inlined : 0),
              waits, inlined);
}

static void report_totals(const PROGRAM *program)
{
    const REGISTRY *registry = &program->server.registry;
    DWORD i;

    for (i = 0; i < program->pool.count; ++i)
        report_worker(&program->workers[i]);
    log_event("stopped connections=%llu received=%llu sent=%llu failed=%llu "
              "live=%ld",
              registry->connections, registry->received, registry->sent,
              registry->failed, registry->live);
}

/* --------------------------------- a life -------------------------------- */

static int run(PROGRAM *program)
{
    SERVER *server = &program->server;
    BOOL ready;

    if (!prepare(server))
        return 1;
    ready = start(program);
    if (ready)
        serve(program);
    else
        fail(program, "not-ready");
    if (server->stop.closeError != 0)
        log_failure(server->stop.closeError, NULL, "closesocket (listener)");
    /* No connection is left, so the only packets from here on are sentinels. */
    pool_join(&program->sweeper);
    pool_post_sentinels(server->hComPort, program->pool.count);
    pool_join(&program->pool);
    trace_close();
    if (ready)
        report_totals(program);
    if (server->hComPort != NULL)
        log_unless(CloseHandle(server->hComPort), "CloseHandle (port)");
    registry_close(&server->registry);
    buffers_close(&server->buffers);
    free(program->batches);
    return program->exitStatus;
}

int main(int argc, char **argv)
{
    static PROGRAM program;
    WSADATA wsaData;
    int status, code = WSAStartup(MAKEWORD(2, 2), &wsaData);

    if (code != 0) {
        log_failure(code, NULL, "WSAStartup");
        return 1;
    }
    status = options_parse(&program.server.options, argc, argv);
    if (status == OPTIONS_RUN)
        status = run(&program);
    console_close();
    log_unless(WSACleanup() == 0, "WSACleanup");
    return status;
}
