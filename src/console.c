/* console.c - Ctrl+C, and the console's input mode. See console.h. */
#include "console.h"
#include "log.h"

/* Windows ends the process five seconds after the console is closed, so the
 * drain is cut short early enough to end in order. */
#define CLOSE_DRAIN 2500  /* ms */

/* A stop that is not over this long after it was cut short hangs: most likely
 * nobody reads the server's output. */
#define PATIENCE 3000  /* ms */

/* The one pointer that must be global: the system calls the console's handler
 * on a thread of its own, and passes it nothing. */
static STOP *stopped;
static HANDLE console;
static volatile LONG savedMode;  /* 0: there is nothing to put back */

/* -------------------------------- QuickEdit ------------------------------ */

static BOOL disable_quick_edit(void)
{
    DWORD mode;

    /* By its name, because standard input may be something else. */
    console = CreateFileA("CONIN$", GENERIC_READ | GENERIC_WRITE,
                          FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                          OPEN_EXISTING, 0, NULL);
    if (console == INVALID_HANDLE_VALUE || !GetConsoleMode(console, &mode))
        return TRUE;
    /* Without ENABLE_EXTENDED_FLAGS the flag for QuickEdit means nothing:
     * Microsoft's page on SetConsoleMode. */
    mode |= ENABLE_EXTENDED_FLAGS;
    InterlockedExchange(&savedMode, (LONG)mode);
    return SetConsoleMode(console, mode & ~(DWORD)ENABLE_QUICK_EDIT_MODE);
}

/* Main and a third Ctrl+C may both come here. Either may end the process, so
 * each sets the mode itself. */
static BOOL restore(void)
{
    LONG mode = InterlockedCompareExchange(&savedMode, 0, 0);

    return mode == 0 || SetConsoleMode(console, (DWORD)mode);
}

void console_close(void) { log_unless(restore(), "SetConsoleMode"); }

/* --------------------------------- Ctrl+C -------------------------------- */

/* The first request begins the drain, the second cuts it short. If the server
 * still hangs after PATIENCE, the next one ends the process as it is. */
static void request_stop(const char *reason)
{
    LONG cutAt = stopped->cutAt;

    if (!stop_begin(stopped, reason))
        stop_cut(stopped);
    if (cutAt != 0 && (LONG)(GetTickCount() - (DWORD)cutAt) > PATIENCE) {
        restore();
        TerminateProcess(GetCurrentProcess(), 1);
    }
}

/* The system calls this on a thread of its own. TRUE: handled. Nothing in it
 * prints, or takes a lock that is held while something is printed. */
static BOOL WINAPI on_control(DWORD event)
{
    switch (event) {
    case CTRL_C_EVENT:
    case CTRL_BREAK_EVENT:
        request_stop(event == CTRL_C_EVENT ? "ctrl-c" : "ctrl-break");
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

void console_open(STOP *stop)
{
    stopped = stop;
    logLast = console_close;  /* before the handler may end the process */
    fatal_unless(SetConsoleCtrlHandler(on_control, TRUE),
                 "SetConsoleCtrlHandler");
    log_unless(disable_quick_edit(), "SetConsoleMode");
}
