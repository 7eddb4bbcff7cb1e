/* stop.c - the state of the stop. See stop.h. */
#include "stop.h"
#include "log.h"

BOOL stop_open(STOP *stop)
{
    stop->event = CreateEventW(NULL, TRUE, FALSE, NULL);
    return log_unless(stop->event != NULL, "CreateEvent (stop)");
}

BOOL stop_begin(STOP *stop, const char *reason)
{
    void *text = (void *)(ULONG_PTR)reason;

    if (InterlockedCompareExchangePointer(&stop->reason, text, NULL) != NULL)
        return FALSE;
    fatal_unless(SetEvent(stop->event), "SetEvent (stop)");
    return TRUE;
}

void stop_cut(STOP *stop) { InterlockedExchange(&stop->cut, TRUE); }

BOOL stop_begun(const STOP *stop) { return stop->reason != NULL; }

BOOL stop_wait(const STOP *stop, DWORD milliseconds)
{
    fatal_unless(WaitForSingleObject(stop->event, milliseconds) != WAIT_FAILED,
                 "WaitForSingleObject (stop)");
    return stop_begun(stop);
}
