/* work.c - blocks or computes for a while; posts packets. See work.h. */
#include "work.h"
#include "log.h"
#include "trace.h"

static void compute(DWORD milliseconds, const STOP *stop)
{
    ULONGLONG end = GetTickCount64() + milliseconds;

    while (GetTickCount64() <= end && !stop_begun(stop))
        ;
}

void work_do(const OPTIONS *options, const STOP *stop)
{
    if (options->workTime == 0 || stop_begun(stop))
        return;
    TRACE(trace_work(TRUE, options->workSpins));
    /* A plain Sleep is the same for the port, but no stop could end it. */
    if (options->workSpins)
        compute(options->workTime, stop);
    else
        stop_wait(stop, options->workTime);
    TRACE(trace_work(FALSE, options->workSpins));
}

void work_post(const OPTIONS *options, HANDLE hComPort)
{
    DWORD bytes;

    /* A packet need not come from an operation: whoever has the port can post
     * one, with any key and any number of bytes. */
    for (bytes = 1; bytes <= options->posted; ++bytes)
        log_unless(PostQueuedCompletionStatus(hComPort, bytes, POSTED_KEY,
                                              NULL),
                   "PostQueuedCompletionStatus (--post)");
}
