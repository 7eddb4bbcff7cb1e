/*
 * main.c - the chapter's main function, taken apart: a server's life in order.
 *
 * An IOCP echo server after chapter 23 of "Yoon Sung-woo's TCP/IP Socket
 * Programming" (Korean). Reading order: connection.h (what comes back with a
 * packet), worker.c (what is done with it), echo.c, connection.c, this file
 * (start, accept, stop), registry.c (the stop's other half), and the others for
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

#include <string.h>

#define SWEEP_INTERVAL 250  /* ms between two sweeps                        */
#define ACCEPT_PAUSE   100  /* ms to wait when out of resources             */

/* What main alone has. */
typedef struct {
    SERVER server;
    WORKER workers[MAX_WORKERS];
    POOL pool;  /* their threads, and the sweeper's */
    int exitStatus;
} PROGRAM;

/* -------------------------------- starting ------------------------------- */

/* The sweeper ends idle connections and gets larger buffers of silent ones
 * back, until the server stops. */
static unsigned WINAPI SweepThreadMain(LPVOID pServer)
{
    SERVER *server = pServer;

    TRACE(trace_thread("sweep", 0));
    while (!stop_wait(&server->stop, SWEEP_INTERVAL))
        registry_sweep(&server->registry);
    return 0;
}

/* A worker with a BATCH, which only this thread touches. */
static unsigned WINAPI BatchThreadMain(LPVOID pWorker)
{
    WORKER *worker = pWorker;
    BATCH batch = {0};

    batch.server = worker->server;
    worker->take = batch_take;
    worker->from = &batch;
    EchoThreadMain(worker);
    worker->waits = batch.waits;
    worker->inlined = batch.inlined;
    return 0;
}

static void start_threads(PROGRAM *program)
{
    const OPTIONS *options = &program->server.options;
    BOOL plain = options->batch == 1 && options->inlineLimit == 0;
    DWORD i;

    for (i = 0; i < options->workers; ++i) {
        program->workers[i].server = &program->server;
        program->workers[i].id = i + 1;
        pool_start(&program->pool, plain ? EchoThreadMain : BatchThreadMain,
                   &program->workers[i]);
    }
    pool_start(&program->pool, SweepThreadMain, &program->server);
}

static void report_ready(const OPTIONS *options, const SOCKADDR_INET *address)
{
    char text[ADDRESS_TEXT];

    log_address(address, text);
    *strrchr(text, ':') = '\0';  /* the port has a key of its own */
    log_event("ready port=%u address=%s workers=%lu concurrency=%lu",
              ntohs(address->Ipv4.sin_port), text, options->workers,
              options->concurrency);
}

/* Returns FALSE if the server cannot listen. Any other failure ends the
 * program: there is no client yet that it could lose. */
static BOOL start(PROGRAM *program)
{
    SERVER *server = &program->server;
    const OPTIONS *options = &server->options;
    SOCKADDR_INET address = options->address;
    SOCKET listener = listener_open(&address);

    if (listener == INVALID_SOCKET)
        return FALSE;
    stop_open(&server->stop, listener);
    console_open(&server->stop);
    registry_open(&server->registry, &server->stop,
                  (LONG)options->maxConnections);
    buffers_open(&server->buffers, options);
    trace_open(options->traceFile, options->workers, options->concurrency,
               options->cpus, options->workTime, options->workSpins);
    server->hComPort = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0,
                                              options->concurrency);
    fatal_unless(server->hComPort != NULL, "CreateIoCompletionPort");
    start_threads(program);
    report_ready(options, &address);
    return TRUE;
}

/* -------------------------------- accepting ------------------------------ */

/* Returns whether accept failed because of the client alone: it was reset, or
 * went away, while it waited. */
static BOOL is_about_the_client(int code)
{
    return code == WSAECONNRESET || code == WSAECONNABORTED
           || code == WSAENOTCONN || code == WSAETIMEDOUT
           || code == WSAENETRESET;
}

/* The stop may close the listener at any moment, even just before a call here
 * uses it. The system may have given its number to another handle by then, but
 * not to a socket, because only main makes those: so the call fails. Decides by
 * our own state, because systems differ in the code for a listener that is
 * closed while accept waits. Only a listener that is gone ends the server. */
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
        program->exitStatus = 1;
        stop_begin(stop, "listener-lost");
    }
}

static void accept_loop(PROGRAM *program)
{
    SERVER *server = &program->server;
    ULONGLONG accepted = 0;

    /* The limit comes before accept: clients over it wait in the backlog, where
     * they cost nothing, and are served when a place is free. */
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

static void report_totals(const PROGRAM *program)
{
    const REGISTRY *registry = &program->server.registry;
    const WORKER *worker = program->workers;
    const WORKER *end = worker + program->server.options.workers;

    for (; worker < end; ++worker)
        if (worker->take == NULL)
            log_event("worker id=%lu completions=%llu", worker->id,
                      worker->completions);
        else
            log_event("worker id=%lu completions=%llu waits=%llu inline=%llu",
                      worker->id, worker->completions - worker->inlined,
                      worker->waits, worker->inlined);
    log_event("stopped connections=%llu received=%llu sent=%llu failed=%llu "
              "live=%ld",
              registry->connections, registry->received, registry->sent,
              registry->failed, registry->live);
}

/* Serves until the server stops, and ends in order. Returns the exit status. */
static int serve(PROGRAM *program)
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
    /* No connection is left, so the only packets from here on are sentinels. */
    pool_post_sentinels(server->hComPort, server->options.workers);
    pool_join(&program->pool);
    trace_close();
    report_totals(program);
    log_unless(CloseHandle(server->hComPort), "CloseHandle (port)");
    registry_close(&server->registry);
    buffers_close(&server->buffers);
    return program->exitStatus;
}

/* --------------------------------- a life -------------------------------- */

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
        status = start(&program) ? serve(&program) : 1;
    console_close();
    log_unless(WSACleanup() == 0, "WSACleanup");
    return status;
}
