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
#include "buffer.h"
#include "connection.h"
#include "listener.h"
#include "registry.h"
#include "trace.h"
#include "work.h"
#include "worker.h"

#include <process.h>
#include <stdio.h>
#include <stdlib.h>

#define SWEEP_INTERVAL 250  /* ms; idle connections may end so late */
#define ACCEPT_PAUSE   100  /* ms to wait when out of resources */
#define POST_TRIES     10   /* attempts to post one sentinel */
#define POST_PAUSE     100  /* ms between two of them */
#define JOIN_LIMIT     1000 /* ms, for workers without a sentinel */
#define WORKER_STACK   (256u * 1024u)  /* reserved; it needs a fraction */

static HANDLE hComPort;
static struct {
    WORKER worker;
    HANDLE hThread;
} * workers;
static DWORD workerCount;          /* how many were asked for */
static DWORD workersStarted;       /* how many there are */
static volatile LONG workersLost;
static volatile LONG portClosed;
static BOOL unjoined;              /* a worker may still be there */
static HANDLE hSweepThread;
static volatile LONG exitStatus;

static void *volatile stopReason;  /* const char *; NULL while running */

/* -------------------------------- stopping ------------------------------- */

/* FALSE if somebody else was first. */
static BOOL begin_stop(const char *reason)
{
    if (InterlockedCompareExchangePointer(&stopReason,
                                          (void *)(ULONG_PTR)reason, NULL)
        != NULL)
        return FALSE;
    registry_stop();
    listener_close();  /* releases main from accept */
    return TRUE;
}

void server_stop(const char *reason)
{
    if (!begin_stop(reason))
        registry_stop();
}

/* The server can't go on: it stops as usual, but with exit status 1. If it
 * stops already this is no second request: the drain goes on. */
static void fail(const char *reason)
{
    InterlockedExchange(&exitStatus, 1);
    begin_stop(reason);
}

void server_worker_lost(DWORD id, DWORD code)
{
    if (portClosed)
        return;  /* as it was meant: see stop_workers */
    log_failure("GetQueuedCompletionStatus", (int)code, "the worker ends");
    log_event("worker-lost id=%lu", id);
    fail("worker-lost");
    if ((DWORD)InterlockedIncrement(&workersLost) == workerCount)
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

static BOOL start_workers(DWORD count, const OPTIONS *options)
{
    DWORD i;

    workerCount = count;
    workers = calloc(count, sizeof *workers);
    if (workers == NULL) {
        log_error("no memory for %lu workers", count);
        return FALSE;
    }
    for (i = 0; i < count; ++i) {
        workers[i].worker.hComPort = hComPort;
        workers[i].worker.id = i + 1;
        workers[i].worker.workers = count;
        workers[i].worker.batch = options->batch;
        workers[i].worker.inlineLimit = options->inlineLimit;
        workers[i].hThread = (HANDLE)_beginthreadex(
            NULL, WORKER_STACK, EchoThreadMain, &workers[i].worker,
            STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
        if (workers[i].hThread == NULL) {
            log_failure("_beginthreadex", (int)_doserrno,
                        "try fewer --workers");
            return FALSE;
        }
        workersStarted = i + 1;
    }
    return TRUE;
}

/*
 * Waits for a thread to end. With the port closed not for ever: that is how
 * workers are ended that get no sentinel, and it does not work everywhere.
 */
static void join(HANDLE hThread)
{
    static DWORD limit = JOIN_LIMIT;
    DWORD result;
    LONG closed;

    do {
        closed = portClosed;  /* before the wait: after that it has a while */
        result = WaitForSingleObject(hThread, limit);
    } while (result == WAIT_TIMEOUT && !closed);
    if (result != WAIT_OBJECT_0)
        unjoined = TRUE;
    if (result == WAIT_TIMEOUT) {
        limit = 0;  /* the others have had that while, too */
        log_error("a worker does not end");
        exitStatus = 1;
    } else if (result != WAIT_OBJECT_0)
        log_failure("WaitForSingleObject", (int)GetLastError(), NULL);
    if (!CloseHandle(hThread))
        log_failure("CloseHandle (thread)", (int)GetLastError(), NULL);
}

/* Main, or a worker that could not return a sentinel: whoever is first. */
static void close_port(void)
{
    if (!InterlockedExchange(&portClosed, TRUE) && hComPort != NULL
        && !CloseHandle(hComPort))
        log_failure("CloseHandle (port)", (int)GetLastError(), NULL);
}

/* Memory may be short for a moment, and no worker ends without its sentinel. */
static BOOL post_sentinel(void)
{
    int tries;

    for (tries = 0; tries < POST_TRIES && !portClosed; ++tries) {
        if (PostQueuedCompletionStatus(hComPort, 0, SENTINEL_KEY, NULL))
            return TRUE;
        if (tries == 0)
            log_failure("PostQueuedCompletionStatus", (int)GetLastError(),
                        "trying again");
        Sleep(POST_PAUSE);
    }
    return FALSE;
}

/* Posts `count` sentinels. If one cannot be posted, closes the port, so that
 * the waits fail. */
static void post_sentinels(DWORD count)
{
    DWORD i;

    for (i = 0; i < count; ++i) {
        TRACE(trace_moment("sentinel posted"));
        if (!post_sentinel()) {
            close_port();
            break;
        }
    }
}

void server_return_sentinels(DWORD count) { post_sentinels(count); }

/*
 * Ends the workers. No connection is left, so the only packets from here on
 * are these (or some could not be ended: those are lost, and stay unfreed, as
 * the system may still write to them until the process ends).
 */
static void stop_workers(void)
{
    DWORD i;

    post_sentinels(workersStarted);
    /* One handle at a time: WaitForMultipleObjects stops at 64. */
    for (i = 0; i < workersStarted; ++i)
        join(workers[i].hThread);
    close_port();
}

/* --------------------------------- sweeps -------------------------------- */

/* A thread only for what has to be done now and then. */
static unsigned WINAPI SweepThreadMain(LPVOID pOptions)
{
    const OPTIONS *options = pOptions;

    TRACE(trace_thread("sweep", 0));
    while (!registry_wait_for_stop(SWEEP_INTERVAL)) {
        if (options->idleTimeout != 0)
            registry_cancel_idle(options->idleTimeout * 1000);
        buffer_trim();
    }
    return 0;
}

static BOOL start_sweep_thread(const OPTIONS *options)
{
    if (options->idleTimeout == 0 && !options->zeroByteRecv)
        return TRUE;
    hSweepThread = (HANDLE)_beginthreadex(NULL, WORKER_STACK, SweepThreadMain,
                                          (LPVOID)(ULONG_PTR)options,
                                          STACK_SIZE_PARAM_IS_A_RESERVATION,
                                          NULL);
    if (hSweepThread == NULL)
        log_failure("_beginthreadex (sweeps)", (int)_doserrno, NULL);
    return hSweepThread != NULL;
}

/* --------------------------------- ready --------------------------------- */

/* A packet need not come from an operation: whoever has the port can post one,
 * with any key and any number of bytes. */
static void post_by_hand(DWORD count)
{
    DWORD bytes;

    for (bytes = 1; bytes <= count; ++bytes)
        if (!PostQueuedCompletionStatus(hComPort, bytes, POSTED_KEY, NULL)) {
            log_failure("PostQueuedCompletionStatus", (int)GetLastError(),
                        NULL);
            break;
        }
}

/* Whether --inline is wanted, and safe. */
static BOOL may_inline(const OPTIONS *options)
{
    if (options->inlineLimit == 0)
        return FALSE;
    if (listener_has_ifs_handles())
        return TRUE;
    if (!registry_stopping())  /* it may have been closed meanwhile */
        log_error("--inline: refused, this system's sockets may not be IFS "
                  "handles: a layered service provider can be the cause "
                  "('netsh winsock show catalog' lists them); serving the "
                  "ordinary way");
    return FALSE;
}

/* Prints the ready line, with the address and the port that the system gave. */
static BOOL report_ready(const OPTIONS *options, DWORD cpus)
{
    SOCKADDR_INET address;
    char text[ADDRESS_TEXT];
    u_short port;
    int code;

    /* A stop may have come before there was a listener for it to close. */
    if (registry_stopping())
        listener_close();
    if (!listener_address(&address, &code)) {
        if (registry_stopping())
            return TRUE;
        log_failure("getsockname", code, NULL);
        return FALSE;
    }
    port = address_text(&address, text);
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
    LPPER_IO_DATA ioInfo;

    if (handleInfo == NULL)
        return;
    if (log_is_verbose()) {
        char text[ADDRESS_TEXT];
        u_short port = address_text(&handleInfo->clntAdr, text);

        log_detail("accept conn=%llu peer=%s:%u live=%lu", handleInfo->id,
                   text, port, registry_totals().live);
    }
    /* From here on it is the workers'. Also where it is done at once and has
     * no packet: main accepts, it does not echo. */
    ioInfo = connection_read(handleInfo);
    if (ioInfo != NULL && !connection_queue(handleInfo, ioInfo, hComPort)) {
        TRACE(trace_post_failed(handleInfo->id, FALSE, 0));  /* main has it */
        connection_close(handleInfo, CLOSE_ERROR);
    }
}

/*
 * What a failed accept is about: most often the client that was waiting, which
 * has gone again; sometimes the whole system; seldom the listener. The same
 * failure over and over is reported once: *reported is the last one's code.
 */
static void accept_failed(int code, int *reported)
{
    DWORD pause = 1;  /* ms: no busy loop, were it not the client */
    const char *advice = "this client only; going on";

    switch (code) {
    case WSAENOTSOCK:
    case WSAEINVAL:
    case WSAEOPNOTSUPP:
    case WSANOTINITIALISED:
        if (!listener_listens()) {
            if (registry_stopping())
                return;  /* closed meanwhile, as it was meant */
            log_failure("accept", code, "the listener is gone");
            fail("listener-lost");
            return;
        }
        /* Wine says WSAEINVAL where there are no descriptors any more. */
        /* fall through */
    case WSAEMFILE:
    case WSAENOBUFS:
    case WSA_NOT_ENOUGH_MEMORY:
        pause = ACCEPT_PAUSE;
        advice = "clients wait until connections have ended";
        break;
    default:
        break;
    }
    if (code != *reported || (pause == 1 && log_is_verbose()))
        log_failure("accept", code, advice);
    *reported = code;
    registry_wait_for_stop(pause);
}

static void accept_loop(DWORD maxConnections)
{
    int reported = 0;

    /* The limit comes before accept: those over it wait in the backlog, where
     * they cost nothing here, and are served when a place is free. */
    while (registry_wait_for_place(maxConnections)) {
        SOCKADDR_INET clntAdr;
        int code;
        SOCKET hClntSock = listener_accept(&clntAdr, &code);

        if (hClntSock != INVALID_SOCKET)
            start_connection(hClntSock, &clntAdr);
        /* By our own flag: the code for a listener closed while accept waits
         * is not the same on every system. */
        else if (!registry_stopping())
            accept_failed(code, &reported);
    }
}

/* ------------------------------ the whole life --------------------------- */

/* What only some modes tell apart is printed only there. */
static void report_worker(const WORKER *worker)
{
    char waits[32] = "", inlined[32] = "";

    if (worker->batch > 1)
        snprintf(waits, sizeof waits, " waits=%llu", worker->waits);
    if (worker->inlineLimit > 0)
        snprintf(inlined, sizeof inlined, " inline=%llu", worker->inlined);
    log_event("worker id=%lu completions=%llu%s%s", worker->id,
              worker->completions, waits, inlined);
}

static void report_totals(void)
{
    REGISTRY_TOTALS totals = registry_totals();
    DWORD i;

    for (i = 0; i < workersStarted; ++i)
        report_worker(&workers[i].worker);
    log_event("stopped connections=%llu received=%llu sent=%llu failed=%llu "
              "live=%lu",
              totals.connections, totals.received, totals.sent, totals.failed,
              totals.live);
}

/* The chapter's GetSystemInfo counts those of one processor group, which has
 * 64 at most; it can't fail, and stands in where the other does. */
static DWORD cpu_count(void)
{
    DWORD count = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    SYSTEM_INFO sysInfo;

    if (count != 0)
        return count;
    GetSystemInfo(&sysInfo);
    return sysInfo.dwNumberOfProcessors;
}

int server_run(const OPTIONS *options)
{
    DWORD cpus = cpu_count();
    DWORD count = options->workers != 0 ? options->workers : cpus;
    BOOL ready;

    work_set(options->workTime, options->workSpins);
    buffer_open(options->largestBuffer);
    trace_open(options, count,
               options->concurrency != 0 ? options->concurrency : cpus, cpus);
    ready = create_port(options->concurrency) && start_workers(count, options)
            && start_sweep_thread(options)
            && listener_open(&options->address, options->anyAddress)
            && report_ready(options, cpus);
    if (ready) {
        connection_configure(options->zeroByteRecv, may_inline(options));
        post_by_hand(options->posted);
        accept_loop(options->maxConnections);
        TRACE(trace_stop((const char *)stopReason));
        listener_close();  /* the handler may be just about to */
        TRACE(trace_moment("listener closed"));
        log_event("stopping reason=%s live=%lu", (const char *)stopReason,
                  registry_totals().live);
    } else {
        fail("not-ready");
        TRACE(trace_stop((const char *)stopReason));
    }

    if (!registry_drain(options->drainTimeout * 1000))
        exitStatus = 1;
    if (hSweepThread != NULL)
        join(hSweepThread);  /* the port is open: it has all the time */
    stop_workers();
    trace_close();
    if (ready)
        report_totals();
    if (!unjoined) {
        buffer_close();
        free(workers);
    }
    return (int)exitStatus;
}
