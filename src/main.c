/*
 * main.c - start, console control, exit status.
 *
 * An IOCP echo server after chapter 23 of "Yoon Sung-woo's TCP/IP Socket
 * Programming" (Korean). Reading order: connection.h (what comes back with a
 * packet), worker.c (what is done with it), connection.c, server.c (start,
 * accept, stop), registry.c (the stop's other half), and the others for
 * completeness. A line that begins with TRACE changes nothing: see trace.h.
 */
#include "console.h"
#include "log.h"
#include "options.h"
#include "platform.h"
#include "server.h"

/* When the console is closed Windows ends the process five seconds later,
 * wherever it is: the drain is cut short early enough to end in order. */
#define CLOSE_DRAIN 2500  /* ms */

/* A stop that was cut short and still is not over after this time hangs: most
 * likely nobody reads what it prints. */
#define PATIENCE 3000  /* ms */

/* The one pointer that must be global: the system calls the console's handler
 * on a thread of its own, and gives it nothing. */
static SERVER server;

/* ---------------------------- console control ---------------------------- */

/* The first time the server drains, the second time it cuts that short. If
 * even then it does not end, the next time ends the process as it is. */
static void request_stop(const char *reason)
{
    static volatile LONG requests = 0;
    static volatile LONG cutAt = 0;  /* GetTickCount of the second */
    LONG since, count = InterlockedIncrement(&requests);

    server_stop(&server, reason);
    if (count == 2)
        InterlockedExchange(&cutAt, (LONG)GetTickCount());
    since = cutAt;
    if (count > 2 && since != 0
        && (LONG)(GetTickCount() - (DWORD)since) > PATIENCE) {
        console_restore();
        TerminateProcess(GetCurrentProcess(), 1);
    }
}

/* The system calls this on a thread of its own. TRUE: handled. Nothing in it
 * prints, or takes a lock under which anyone prints. */
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
        /* The process ends as soon as this returns. So it does not return:
         * main ends the process when it is done, and this thread with it. */
        request_stop("close");
        Sleep(CLOSE_DRAIN);
        request_stop("close");
        Sleep(INFINITE);
        return TRUE;
    default:
        return FALSE;  /* logoff and shutdown reach services only */
    }
}

/* --------------------------------- start --------------------------------- */

static int run(int argc, char **argv)
{
    OPTIONS options;
    OPTIONS_RESULT result = options_parse(&options, argc, argv);

    if (result != OPTIONS_RUN)
        return result;
    log_set_level((LOG_LEVEL)options.logLevel);
    if (!server_init(&server)
        || !log_unless(SetConsoleCtrlHandler(on_console_control, TRUE),
                       "SetConsoleCtrlHandler"))
        return 1;
    log_unless(console_disable_quick_edit(), "SetConsoleMode");
    return server_run(&server, &options);
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
    log_unless(console_restore(), "SetConsoleMode");
    log_unless(WSACleanup() == 0, "WSACleanup");
    return status;
}
