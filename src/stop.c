/* stop.c - the state of the stop. See stop.h. */
#include "stop.h"
#include "log.h"

void stop_open(STOP *stop, SOCKET listener)
{
    stop->listener = listener;
    stop->listening = TRUE;
    stop->event = CreateEventW(NULL, TRUE, FALSE, NULL);
    fatal_unless(stop->event != NULL, "CreateEvent (stop)");
}

/* The console's handler and main may both come here: the first one closes. */
static void close_listener(STOP *stop)
{
    if (InterlockedExchange(&stop->listening, FALSE)
        && closesocket(stop->listener) != 0)
        stop->closeError = WSAGetLastError();
}

BOOL stop_begin(STOP *stop, const char *reason)
{
    void *text = (void *)(ULONG_PTR)reason;

    if (InterlockedCompareExchangePointer(&stop->reason, text, NULL) != NULL)
        return FALSE;
    close_listener(stop);
    fatal_unless(SetEvent(stop->event), "SetEvent (stop)");
    return TRUE;
}

void stop_cut(STOP *stop)
{
    LONG now = (LONG)(GetTickCount() | 1);  /* not 0 */

    InterlockedCompareExchange(&stop->cutAt, now, 0);
}

BOOL stop_begun(const STOP *stop) { return stop->reason != NULL; }

BOOL stop_wait(const STOP *stop, DWORD milliseconds)
{
    fatal_unless(WaitForSingleObject(stop->event, milliseconds) != WAIT_FAILED,
                 "WaitForSingleObject (stop)");
    return stop_begun(stop);
}
