/* work.c - blocks or computes for a while. See work.h. */
#include "work.h"
#include "registry.h"
#include "trace.h"

static DWORD workTime;  /* ms; 0: none */
static BOOL workSpins;

void work_set(DWORD milliseconds, BOOL spins)
{
    workTime = milliseconds;
    workSpins = spins;
}

/* Blocks for so many ticks, rounded up to milliseconds. A plain Sleep would be
 * the same for the port, but nothing could end it early. */
static BOOL sleep_for(LONGLONG ticks, LONGLONG ticksPerSecond)
{
    return registry_wait_for_stop((DWORD)(ticks * 1000 / ticksPerSecond + 1));
}

static LONGLONG ticks_now(void)
{
    LARGE_INTEGER ticks;

    QueryPerformanceCounter(&ticks);  /* can't fail since Windows XP */
    return ticks.QuadPart;
}

void work_do(void)
{
    LARGE_INTEGER frequency;
    LONGLONG end, now;

    if (workTime == 0 || registry_stopping())
        return;
    TRACE(trace_work(TRUE, workSpins));
    QueryPerformanceFrequency(&frequency);  /* nor can this */
    now = ticks_now();
    end = now + workTime * frequency.QuadPart / 1000;
    while (now < end
           && !(workSpins ? registry_stopping()
                          : sleep_for(end - now, frequency.QuadPart)))
        now = ticks_now();
    TRACE(trace_work(FALSE, workSpins));
}
