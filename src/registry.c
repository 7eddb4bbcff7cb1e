/* registry.c - the list of connections and its sweeps. See registry.h. */
#include "registry.h"
#include "log.h"

#define SWEEP_INTERVAL 20     /* ms between two sweeps of a drain            */
#define GIVE_UP        10000  /* ms for cancelled operations to come back    */
#define NOBODY_WAITS   MAXDWORD

typedef enum {
    RUNNING,
    DRAINING,  /* receives are cancelled, sends may finish       */
    CUTTING,   /* everything is cancelled                        */
    ABANDONED  /* there are no workers any more: nothing can end */
} PHASE;

/* `lock` protects everything here but `phase`, which is only written under it
 * but read by workers without. A worker that reads an old value posts one more
 * READ, and the next sweep finds it: that is why the drain sweeps more than
 * once. */
static SRWLOCK lock = SRWLOCK_INIT;
static CONDITION_VARIABLE changed = CONDITION_VARIABLE_INIT;
static volatile LONG phase = RUNNING;
static PER_HANDLE_DATA *first;
static REGISTRY_TOTALS totals;
static DWORD wakeAt = NOBODY_WAITS;  /* the live count main waits for */
static DWORD idleTimeout;            /* ms, 0: never; set before the start */

/* ------------------------- beginning and ending -------------------------- */

void registry_add(LPPER_HANDLE_DATA handleInfo)
{
    AcquireSRWLockExclusive(&lock);
    handleInfo->previous = NULL;
    handleInfo->next = first;
    if (first != NULL)
        first->previous = handleInfo;
    first = handleInfo;
    ++totals.connections;
    ++totals.live;
    ReleaseSRWLockExclusive(&lock);
}

DWORD registry_remove(LPPER_HANDLE_DATA handleInfo, BOOL failed)
{
    DWORD live;
    BOOL wake;

    AcquireSRWLockExclusive(&lock);
    if (handleInfo->previous != NULL)
        handleInfo->previous->next = handleInfo->next;
    else
        first = handleInfo->next;
    if (handleInfo->next != NULL)
        handleInfo->next->previous = handleInfo->previous;
    totals.received += handleInfo->received;
    totals.sent += handleInfo->sent;
    totals.failed += failed ? 1u : 0u;
    live = --totals.live;
    wake = wakeAt != NOBODY_WAITS && live <= wakeAt;
    ReleaseSRWLockExclusive(&lock);
    if (wake)
        WakeAllConditionVariable(&changed);
    return live;
}

REGISTRY_TOTALS registry_totals(void)
{
    REGISTRY_TOTALS copy;

    AcquireSRWLockShared(&lock);
    copy = totals;
    ReleaseSRWLockShared(&lock);
    return copy;
}

/* Waits under the lock for `changed`, at most so long (ms or INFINITE). */
static void wait_for_change(DWORD milliseconds)
{
    if (!SleepConditionVariableSRW(&changed, &lock, milliseconds, 0)
        && GetLastError() != ERROR_TIMEOUT) {
        log_failure("SleepConditionVariableSRW", (int)GetLastError(), NULL);
        ReleaseSRWLockExclusive(&lock);
        Sleep(SWEEP_INTERVAL);  /* it never should; then at least no spinning */
        AcquireSRWLockExclusive(&lock);
    }
}

/* The same, woken also when no more than `live` connections are left. Only
 * main waits for that, so one number is enough. */
static void wait_for_live(DWORD live, DWORD milliseconds)
{
    wakeAt = live;
    wait_for_change(milliseconds);
    wakeAt = NOBODY_WAITS;
}

BOOL registry_wait_for_place(DWORD limit)
{
    BOOL running;

    if (limit == 0)
        return phase == RUNNING;
    AcquireSRWLockExclusive(&lock);
    while (phase == RUNNING && totals.live >= limit)
        wait_for_live(limit - 1, INFINITE);
    running = phase == RUNNING;
    ReleaseSRWLockExclusive(&lock);
    return running;
}

/* ------------------------------ cancelling ------------------------------- */

/* The caller holds the lock. `overlapped` NULL: whatever is outstanding. */
static void cancel(const PER_HANDLE_DATA *handleInfo, OVERLAPPED *overlapped)
{
    /* ERROR_NOT_FOUND: a worker holds its packet right now. */
    if (!CancelIoEx((HANDLE)handleInfo->hClntSock, overlapped)
        && GetLastError() != ERROR_NOT_FOUND)
        log_failure("CancelIoEx", (int)GetLastError(), NULL);
}

void registry_set_idle_timeout(DWORD milliseconds)
{
    idleTimeout = milliseconds;
}

BOOL registry_sweeps_idle(void) { return idleTimeout != 0; }

BOOL registry_is_idle(const PER_HANDLE_DATA *handleInfo)
{
    /* Unsigned, so that the difference is right when the tick count wraps
     * around. The read is of an aligned 32-bit value, which Windows does in
     * one piece: old or new, never half of each. */
    return idleTimeout != 0
           && GetTickCount() - (DWORD)handleInfo->lastActive >= idleTimeout;
}

void registry_cancel_idle(void)
{
    PER_HANDLE_DATA *handleInfo;

    AcquireSRWLockExclusive(&lock);
    for (handleInfo = first; handleInfo != NULL; handleInfo = handleInfo->next)
        if (registry_is_idle(handleInfo))
            cancel(handleInfo, NULL);
    ReleaseSRWLockExclusive(&lock);
}

/* -------------------------------- stopping ------------------------------- */

void registry_stop(void)
{
    AcquireSRWLockExclusive(&lock);
    if (phase == RUNNING)
        phase = DRAINING;
    else if (phase == DRAINING)
        phase = CUTTING;
    ReleaseSRWLockExclusive(&lock);
    WakeAllConditionVariable(&changed);
}

void registry_abandon(void)
{
    AcquireSRWLockExclusive(&lock);
    phase = ABANDONED;
    ReleaseSRWLockExclusive(&lock);
    WakeAllConditionVariable(&changed);
}

BOOL registry_stopping(void) { return phase != RUNNING; }

BOOL registry_wait_for_stop(DWORD milliseconds)
{
    BOOL stopping;

    AcquireSRWLockExclusive(&lock);
    if (phase == RUNNING)
        wait_for_change(milliseconds);
    stopping = phase != RUNNING;
    ReleaseSRWLockExclusive(&lock);
    return stopping;
}

BOOL registry_discard(LPPER_HANDLE_DATA handleInfo)
{
    BOOL draining;

    AcquireSRWLockExclusive(&lock);
    draining = phase == DRAINING;
    handleInfo->discarding = draining;
    ReleaseSRWLockExclusive(&lock);
    return draining;
}

/* The caller holds the lock. */
static void sweep(void)
{
    PER_HANDLE_DATA *handleInfo;

    for (handleInfo = first; handleInfo != NULL; handleInfo = handleInfo->next)
        if (phase != DRAINING)
            cancel(handleInfo, NULL);
        else if (!handleInfo->discarding)
            cancel(handleInfo, &handleInfo->readIo.overlapped);
}

BOOL registry_drain(DWORD milliseconds)
{
    ULONGLONG start = GetTickCount64();
    ULONGLONG cutAt = 0;
    DWORD left;

    AcquireSRWLockExclusive(&lock);
    while (totals.live > 0 && phase != ABANDONED) {
        ULONGLONG now = GetTickCount64();

        if (phase == DRAINING && now - start >= milliseconds)
            phase = CUTTING;
        if (phase == CUTTING && cutAt == 0)
            cutAt = now;
        if (cutAt != 0 && now - cutAt >= GIVE_UP)
            break;
        sweep();
        wait_for_live(0, SWEEP_INTERVAL);
    }
    left = totals.live;
    ReleaseSRWLockExclusive(&lock);
    if (left > 0)
        log_error("%lu connections could not be ended", left);
    return left == 0;
}
