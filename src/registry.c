/* registry.c - the list of connections and its sweeps. See registry.h. */
#include "registry.h"
#include "log.h"
#include "trace.h"

#define DRAIN_INTERVAL 20     /* ms between two sweeps of a drain            */
#define LINGER         1000   /* ms for a client to answer our FIN           */
#define GIVE_UP        10000  /* ms for cancelled operations to come back    */

void registry_open(REGISTRY *registry, STOP *stop, LONG limit)
{
    InitializeSRWLock(&registry->lock);
    registry->head.next = registry->head.previous = &registry->head;
    registry->stop = stop;
    registry->limit = limit;
    registry->fewer = CreateEventW(NULL, FALSE, FALSE, NULL);
    fatal_unless(registry->fewer != NULL, "CreateEvent (registry)");
}

void registry_close(REGISTRY *registry)
{
    log_unless(CloseHandle(registry->fewer), "CloseHandle (registry)");
}

/* ------------------------- beginning and ending -------------------------- */

LONG registry_add(REGISTRY *registry, REGISTRY_ENTRY *entry, ULONGLONG id,
                  SOCKET sock, OVERLAPPED *receive)
{
    LONG live;

    entry->registry = registry;
    entry->id = id;
    entry->sock = sock;
    entry->receive = receive;
    AcquireSRWLockExclusive(&registry->lock);
    entry->next = registry->head.next;
    entry->previous = &registry->head;
    entry->next->previous = entry->previous->next = entry;
    ++registry->connections;
    live = ++registry->live;
    ReleaseSRWLockExclusive(&registry->lock);
    return live;
}

LONG registry_remove(REGISTRY_ENTRY *entry, ULONGLONG received, ULONGLONG sent,
                     BOOL failed)
{
    REGISTRY *registry = entry->registry;
    LONG live;

    AcquireSRWLockExclusive(&registry->lock);
    entry->previous->next = entry->next;
    entry->next->previous = entry->previous;
    registry->received += received;
    registry->sent += sent;
    registry->failed += failed ? 1u : 0u;
    live = --registry->live;
    ReleaseSRWLockExclusive(&registry->lock);
    if (live == 0 || live + 1 == registry->limit)
        fatal_unless(SetEvent(registry->fewer), "SetEvent (registry)");
    return live;
}

BOOL registry_wait_for_place(REGISTRY *registry)
{
    HANDLE either[2];

    either[0] = registry->stop->event;  /* here, not above: C4204 of cl */
    either[1] = registry->fewer;
    /* The event may be left from before, so look again. It is never missed,
     * because it is set after `live` is written. */
    while (!stop_begun(registry->stop) && registry->limit != 0
           && registry->live >= registry->limit)
        fatal_unless(WaitForMultipleObjects(2, either, FALSE, INFINITE)
                         != WAIT_FAILED,
                     "WaitForMultipleObjects");
    return !stop_begun(registry->stop);
}

/* ------------------------------ cancelling ------------------------------- */

/* Cancels one operation, or with NULL whatever is outstanding: its packet will
 * come. The caller holds the lock. */
static void cancel(const REGISTRY_ENTRY *entry, OVERLAPPED *overlapped,
                   const char *why)
{
    TRACE_TIME(began);

    if (CancelIoEx((HANDLE)entry->sock, overlapped))
        TRACE(trace_cancel(began, entry->id, overlapped == NULL, why));
    else
        /* ERROR_NOT_FOUND: it is done already; its packet is on the way to a
         * worker, or a worker has it. */
        log_unless(GetLastError() == ERROR_NOT_FOUND, "CancelIoEx");
}

/* Returns the deadline if it has passed, else 0. Reads the tick count first, so
 * that an owner who goes on meanwhile is not late. The difference is right even
 * when the tick count wraps around. */
static LONG passed(const REGISTRY_ENTRY *entry)
{
    DWORD now = GetTickCount();
    LONG deadline = entry->deadline;

    return deadline != 0 && (LONG)(now - (DWORD)deadline) >= 0 ? deadline : 0;
}

/* Deadlines are 2 or 3 above a multiple of 4, so none is 0 or RECLAIMED. The
 * odd ones are those of READs with a larger buffer. */
void registry_set_deadline(REGISTRY_ENTRY *entry, DWORD milliseconds,
                           BOOL lent)
{
    LONG deadline = 0;

    if (milliseconds != 0)
        deadline = (LONG)(GetTickCount() + milliseconds) / 4 * 4 + 2 + lent;
    if (InterlockedExchange(&entry->deadline, deadline) != RECLAIMED)
        return;
    /* A sweep has claimed the buffer and may not have cancelled yet. It holds
     * the lock: once it has released that, its cancel cannot hit the operation
     * that is posted next. */
    AcquireSRWLockExclusive(&entry->registry->lock);
    ReleaseSRWLockExclusive(&entry->registry->lock);
}

BOOL registry_is_late(const REGISTRY_ENTRY *entry)
{
    LONG deadline = passed(entry);

    return deadline != 0 && deadline % 2 == 0;
}

/* Claims the buffer of a READ, unless the owner has gone on meanwhile. Returns
 * whether it is claimed. */
static BOOL reclaim(REGISTRY_ENTRY *entry)
{
    LONG deadline = passed(entry);

    if (deadline % 2 != 0)
        InterlockedCompareExchange(&entry->deadline, RECLAIMED, deadline);
    return entry->deadline == RECLAIMED;
}

/* The owner of an idle client may post its next operation just before the
 * cancel, which then hits that one: the connection ends as failed. */
void registry_sweep(REGISTRY *registry)
{
    BOOL stops = stop_begun(registry->stop);
    REGISTRY_ENTRY *entry;

    AcquireSRWLockExclusive(&registry->lock);
    for (entry = registry->head.next; entry != &registry->head;
         entry = entry->next)
        if (registry->stop->cutAt != 0 || registry_is_late(entry))
            cancel(entry, NULL, stops ? "stop" : "idle");
        else if (stops ? !entry->discarding : reclaim(entry))
            cancel(entry, entry->receive, stops ? "stop" : "silent");
    ReleaseSRWLockExclusive(&registry->lock);
}

/* -------------------------------- stopping ------------------------------- */

BOOL registry_discard(REGISTRY_ENTRY *entry)
{
    registry_set_deadline(entry, LINGER, FALSE);
    InterlockedExchange(&entry->discarding, TRUE);
    return entry->registry->stop->cutAt == 0;
}

/*
 * A worker that has not seen the stop yet posts one more READ: the next sweep
 * finds it. That is why there is more than one.
 */
void registry_drain(REGISTRY *registry, DWORD milliseconds)
{
    STOP *stop = registry->stop;
    ULONGLONG start = GetTickCount64(), cutAt = 0;

    while (registry->live > 0) {
        ULONGLONG now = GetTickCount64();
        DWORD took;

        if (now - start >= milliseconds)
            stop_cut(stop);
        if (cutAt == 0 && stop->cutAt != 0) {
            TRACE(trace_moment("cut"));
            cutAt = now;
        }
        fatal_unless(cutAt == 0 || now - cutAt < GIVE_UP,
                     "CancelIoEx (connections do not end)");
        registry_sweep(registry);
        /* No connection ends while a sweep holds the lock. With many thousands
         * a sweep takes long, so it leaves them just as long to end. */
        took = (DWORD)(GetTickCount64() - now);
        fatal_unless(WaitForSingleObject(registry->fewer,
                                         DRAIN_INTERVAL + took)
                         != WAIT_FAILED,
                     "WaitForSingleObject (drain)");
    }
    TRACE(trace_moment("drain over"));
}
