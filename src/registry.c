/* registry.c - the list of connections and its sweeps. See registry.h. */
#include "registry.h"
#include "log.h"
#include "trace.h"

#define SWEEP_INTERVAL 20     /* ms between two sweeps of a drain            */
#define LINGER         1000   /* ms for a client to answer our FIN           */
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
static CONDITION_VARIABLE fewer = CONDITION_VARIABLE_INIT;    /* live     */
static CONDITION_VARIABLE stopped = CONDITION_VARIABLE_INIT;  /* phase    */
static volatile LONG phase = RUNNING;
static PER_HANDLE_DATA *first;
static REGISTRY_TOTALS totals;
static volatile LONG liveNow;        /* totals.live, for registry_live */
static DWORD wakeAt = NOBODY_WAITS;  /* the live count main waits for */

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
    liveNow = (LONG)++totals.live;
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
    liveNow = (LONG)live;
    wake = wakeAt != NOBODY_WAITS && live <= wakeAt;
    ReleaseSRWLockExclusive(&lock);
    if (wake)
        WakeAllConditionVariable(&fewer);
    return live;
}

DWORD registry_live(void) { return (DWORD)liveNow; }

REGISTRY_TOTALS registry_totals(void)
{
    REGISTRY_TOTALS copy;

    AcquireSRWLockShared(&lock);
    copy = totals;
    ReleaseSRWLockShared(&lock);
    return copy;
}

/* Waits under the lock for a change, at most so long (ms or INFINITE). */
static void wait_for(CONDITION_VARIABLE *change, DWORD milliseconds)
{
    static BOOL told = FALSE;

    if (SleepConditionVariableSRW(change, &lock, milliseconds, 0)
        || GetLastError() == ERROR_TIMEOUT)
        return;
    if (!told)
        log_failure("SleepConditionVariableSRW", (int)GetLastError(),
                    "looking again and again instead");
    told = TRUE;
    ReleaseSRWLockExclusive(&lock);
    Sleep(SWEEP_INTERVAL);
    AcquireSRWLockExclusive(&lock);
}

/* The same until no more than `live` connections are left, or for the phase.
 * Only main waits for that, so one number is enough. */
static void wait_for_live(DWORD live, DWORD milliseconds)
{
    wakeAt = live;
    wait_for(&fewer, milliseconds);
    wakeAt = NOBODY_WAITS;
}

BOOL registry_wait_for_place(DWORD limit)
{
    BOOL running;

    AcquireSRWLockExclusive(&lock);
    while (phase == RUNNING && limit != 0 && totals.live >= limit)
        wait_for_live(limit - 1, INFINITE);
    running = phase == RUNNING;
    ReleaseSRWLockExclusive(&lock);
    return running;
}

/* ------------------------------ cancelling ------------------------------- */

/* The caller holds the lock. `overlapped` NULL: whatever is outstanding. TRUE
 * if there was something: its packet will come. */
static BOOL cancel(const PER_HANDLE_DATA *handleInfo, OVERLAPPED *overlapped,
                   const char *why)
{
    static BOOL told = FALSE;
    TRACE_TIME(began);

    if (CancelIoEx((HANDLE)handleInfo->hClntSock, overlapped)) {
        TRACE(trace_cancel(began, handleInfo->id, overlapped == NULL, why));
        return TRUE;
    }
    /* ERROR_NOT_FOUND: it is done already; its packet is on its way to a
     * worker, or a worker has it, or (--inline) has it without a packet. */
    if (GetLastError() != ERROR_NOT_FOUND && !told) {
        log_failure("CancelIoEx", (int)GetLastError(), NULL);
        told = TRUE;
    }
    return FALSE;
}

static BOOL quiet_for(const PER_HANDLE_DATA *handleInfo, DWORD milliseconds)
{
    /* The difference is right also when the tick count wraps around; signed,
     * because the owner may write lastActive after the clock was read here. */
    return (LONG)(GetTickCount() - (DWORD)handleInfo->lastActive)
           >= (LONG)milliseconds;
}

void registry_cancel_idle(DWORD milliseconds)
{
    PER_HANDLE_DATA *handleInfo;

    AcquireSRWLockExclusive(&lock);
    for (handleInfo = first; handleInfo != NULL; handleInfo = handleInfo->next)
        if (quiet_for(handleInfo, milliseconds)) {
            /* First the reason, then the cancel, whose packet a worker may
             * have at once. Data that comes in between comes too late. */
            handleInfo->expired = TRUE;
            if (!cancel(handleInfo, NULL, "idle"))
                handleInfo->expired = FALSE;
        }
    ReleaseSRWLockExclusive(&lock);
}

/* -------------------------------- stopping ------------------------------- */

static void enter(PHASE next)
{
    phase = next;
    WakeAllConditionVariable(&fewer);
    WakeAllConditionVariable(&stopped);
}

void registry_stop(void)
{
    AcquireSRWLockExclusive(&lock);
    if (phase == RUNNING)
        enter(DRAINING);
    else if (phase == DRAINING)
        enter(CUTTING);
    ReleaseSRWLockExclusive(&lock);
}

void registry_abandon(void)
{
    AcquireSRWLockExclusive(&lock);
    enter(ABANDONED);
    ReleaseSRWLockExclusive(&lock);
}

BOOL registry_stopping(void) { return phase != RUNNING; }

BOOL registry_wait_for_stop(DWORD milliseconds)
{
    BOOL stopping;

    AcquireSRWLockExclusive(&lock);
    if (phase == RUNNING)
        wait_for(&stopped, milliseconds);
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
            cancel(handleInfo, NULL, "stop");
        else if (!handleInfo->discarding || quiet_for(handleInfo, LINGER))
            cancel(handleInfo, &handleInfo->readIo.overlapped, "stop");
}

BOOL registry_drain(DWORD milliseconds)
{
    ULONGLONG start = GetTickCount64();
    ULONGLONG cutAt = 0;
    DWORD left;

    AcquireSRWLockExclusive(&lock);
    while (totals.live > 0 && phase != ABANDONED) {
        ULONGLONG now = GetTickCount64();
        DWORD took;

        if (phase == DRAINING && now - start >= milliseconds)
            phase = CUTTING;
        if (phase == CUTTING && cutAt == 0) {
            cutAt = now;
            TRACE(trace_moment("cut"));
        }
        if (cutAt != 0 && now - cutAt >= GIVE_UP)
            break;
        sweep();
        /* Workers end no connection while a sweep has the lock. Of many
         * thousand connections it takes a while: then they have one as long. */
        took = (DWORD)(GetTickCount64() - now);
        wait_for_live(0, SWEEP_INTERVAL + took);
    }
    left = totals.live;
    ReleaseSRWLockExclusive(&lock);
    TRACE(trace_moment("drain over"));
    if (left > 0)
        log_error("%lu connections could not be ended", left);
    return left == 0;
}
