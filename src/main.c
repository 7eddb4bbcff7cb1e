/*
 * main.c - start, console control, exit status.
 *
 * An IOCP echo server after chapter 23 of "Yoon Sung-woo's TCP/IP Socket
 * Programming" (Korean). Reading order: connection.h (what comes back with a
 * packet), worker.c (what is done with it), connection.c, server.c (start,
 * accept, stop), registry.c (the stop's other half), and the others for
 * completeness. A line that begins with TRACE changes nothing: see trace.h.
 */
#include "log.h"
#include "options.h"
#include "platform.h"
#include "server.h"

/* When the console is closed Windows ends the process five seconds later,
 * wherever it is: the drain is cut short early enough to end in order. */
#define CLOSE_DRAIN 2500  /* ms */

/* A stop that was cut short and still is not over so much later hangs: most
 * likely nobody reads what it prints. */
#define PATIENCE 3000  /* ms */

static HANDLE mainThread;

/* The first time the server drains, the second time it cuts that short. If
 * even then it does not end, the third time ends the process as it is. */
static void request_stop(const char *reason)
{
    static volatile LONG requests = 0;
    static volatile LONG cutAt = 0;  /* GetTickCount of the second */
    LONG since, count = InterlockedIncrement(&requests);

    server_stop(reason);
    if (count == 2)
        InterlockedExchange(&cutAt, (LONG)GetTickCount());
    since = cutAt;
    if (count > 2 && since != 0
        && (LONG)(GetTickCount() - (DWORD)since) > PATIENCE
        && !TerminateProcess(GetCurrentProcess(), 1))
        log_failure("TerminateProcess", (int)GetLastError(), NULL);
}

/* The system calls this on a thread of its own. TRUE: handled. */
static BOOL WINAPI on_console_control(DWORD event)
{
    switch (event) {
    case CTRL_C_EVENT:
        request_stop("ctrl-c");
        return TRUE;
    case CTRL_BREAK_EVENT:
        request_stop("ctrl-break");
        return TRUE;
    case CTRL_CLOSE_EVENT:
        request_stop("close");
        break;
    case CTRL_LOGOFF_EVENT:
        request_stop("logoff");
        break;
    case CTRL_SHUTDOWN_EVENT:
        request_stop("shutdown");
        break;
    default:
        return FALSE;
    }
    /* The process ends as soon as this returns. So it does not: main ends the
     * process when it is done, and this thread with it. */
    if (WaitForSingleObject(mainThread, CLOSE_DRAIN) == WAIT_TIMEOUT)
        request_stop("again");
    WaitForSingleObject(mainThread, INFINITE);
    return TRUE;
}

/* Ctrl+C and its like become server_stop. */
static BOOL watch_console(void)
{
    /* GetCurrentThread gives a pseudo handle, which in another thread would
     * mean that one. */
    if (!DuplicateHandle(GetCurrentProcess(), GetCurrentThread(),
                         GetCurrentProcess(), &mainThread, SYNCHRONIZE, FALSE,
                         0)) {
        log_failure("DuplicateHandle", (int)GetLastError(), NULL);
        return FALSE;
    }
    if (!SetConsoleCtrlHandler(on_console_control, TRUE)) {
        log_failure("SetConsoleCtrlHandler", (int)GetLastError(), NULL);
        return FALSE;
    }
    return TRUE;
}

static int run(int argc, char **argv)
{
    OPTIONS options;

    switch (options_parse(&options, argc, argv)) {
    case OPTIONS_DONE:
        return 0;
    case OPTIONS_WRONG:
        return 2;
    case OPTIONS_RUN:
        break;
    }
    log_set_level(options.logLevel);
    return watch_console() ? server_run(&options) : 1;
}

int main(int argc, char **argv)
{
    WSADATA wsaData;
    int status, code = WSAStartup(MAKEWORD(2, 2), &wsaData);

    if (code != 0) {
        log_failure("WSAStartup", code, NULL);
        return 1;
    }
    status = run(argc, argv);
    if (WSACleanup() != 0)
        log_failure("WSACleanup", WSAGetLastError(), NULL);
    return status;
}
