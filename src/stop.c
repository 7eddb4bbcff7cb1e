/* stop.c - the state of the stop. See stop.h. */
#include "stop.h"
#include "log.h"

void stop_open(STOP *stop, SOCKET listener)
{
    stop->listener = listener;
    stop->event = CreateEventW(NULL, TRUE, FALSE, NULL);
    fatal_unless(stop->event != NULL, "CreateEvent (stop)");
}

BOOL stop_begin(STOP *stop, const char *reason)
{
    void *text = (void *)(ULONG_PTR)reason;

    if (InterlockedCompareExchangePointer(&stop->reason, text, NULL) != NULL)
        return FALSE;
    /* Only one thread gets here. A failure is ignored: it means that the
     * listener is gone already, and then accept does not wait. */
    (void)closesocket(stop->listener);
    fatal_unless(SetEvent(stop->event), "SetEvent (stop)");
    return TRUE;
}

void stop_cut(STOP *stop)
{
    InterlockedCompareExchange(&stop->cutAt, (LONG)(GetTickCount() | 1), 0);
}

BOOL stop_begun(const STOP *stop) { return stop->reason != NULL; }

BOOL stop_wait(const STOP *stop, DWORD milliseconds)
{
    fatal_unless(WaitForSingleObject(stop->event, milliseconds) != WAIT_FAILED,
                 "WaitForSingleObject (stop)");
    return stop_begun(stop);
}
