/* registry.c - the list of connections and its sweeps. See registry.h. */
#include "registry.h"
#include "log.h"
#include "trace.h"

#define DRAIN_INTERVAL 20     /* ms between two sweeps of a drain            */
#define LINGER         1000   /* ms for a client to answer our FIN           */
#define GIVE_UP        10000  /* ms for cancelled operations to come back    */
#define NOBODY_WAITS   (-1)

BOOL registry_open(REGISTRY *registry, STOP *stop, DWORD idleTimeout)
{
    InitializeSRWLock(&registry->lock);
    registry->stop = stop;
    registry->idleTimeout = idleTimeout;
    registry->wakeAt = NOBODY_WAITS;
    registry->fewer = CreateEventW(NULL, FALSE, FALSE, NULL);
    return log_unless(registry->fewer != NULL, "CreateEvent (registry)");
}

void registry_close(REGISTRY *registry)
{
    log_unless(CloseHandle(registry->fewer), "CloseHandle (registry)");
}

/* ------------------------- beginning and ending -------------------------- */

LONG registry_add(REGISTRY_ENTRY *entry)
{
    REGISTRY *registry = entry->registry;
    LONG live;

    registry_set_deadline(entry, 1);
    AcquireSRWLockExclusive(&registry->lock);
    entry->next = registry->first;
    if (entry->next != NULL)
        entry->next->previous = entry;
    registry->first = entry;
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
    BOOL wake;

    AcquireSRWLockExclusive(&registry->lock);
    if (entry->previous != NULL)
        entry->previous->next = entry->next;
    else
        registry->first = entry->next;
    if (entry->next != NULL)
        entry->next->previous = entry->previous;
    registry->received += received;
    registry->sent += sent;
    registry->failed += failed ? 1u : 0u;
    live = --registry->live;
    wake = live <= registry->wakeAt;
    ReleaseSRWLockExclusive(&registry->lock);
    if (wake)
        fatal_unless(SetEvent(registry->fewer), "SetEvent (registry)");
    return live;
}

/* Asks for the event when no more than `live` are left. Returns FALSE, and does
 * not ask, if that is so already. Only main asks, so one number is enough. */
static BOOL ask_to_be_woken(REGISTRY *registry, LONG live)
{
    BOOL more;

    AcquireSRWLockExclusive(&registry->lock);
    more = registry->live > live;
    registry->wakeAt = more ? live : NOBODY_WAITS;
    ReleaseSRWLockExclusive(&registry->lock);
    return more;
}

BOOL registry_wait_for_place(REGISTRY *registry, DWORD limit)
{
    HANDLE either[2] = {registry->stop->event, registry->fewer};

    while (!stop_begun(registry->stop) && limit != 0
           && ask_to_be_woken(registry, (LONG)limit - 1))
        fatal_unless(WaitForMultipleObjects(2, either, FALSE, INFINITE)
                         != WAIT_FAILED,
                     "WaitForMultipleObjects");
    return !stop_begun(registry->stop);
}

/* ------------------------------ cancelling ------------------------------- */

/* Cancels one operation, or with NULL whatever is outstanding. The caller holds
 * the lock. Returns TRUE if there was something: its packet will come. */
static BOOL cancel(const REGISTRY_ENTRY *entry, OVERLAPPED *overlapped,
                   const char *why)
{
    TRACE_TIME(began);

    if (CancelIoEx((HANDLE)entry->sock, overlapped)) {
        TRACE(trace_cancel(began, entry->id, overlapped == NULL, why));
        return TRUE;
    }
    /* ERROR_NOT_FOUND: it is done already; its packet is on the way to a
     * worker, or a worker has it. */
    log_unless(GetLastError() == ERROR_NOT_FOUND, "CancelIoEx");
    return FALSE;
}

/* The difference is right also when the tick count wraps around. */
static BOOL has_passed(LONG deadline)
{
    return (LONG)(GetTickCount() - (DWORD)deadline) >= 0;
}

void registry_set_deadline(REGISTRY_ENTRY *entry, DWORD times)
{
    DWORD timeout = entry->registry->idleTimeout;

    if (timeout != 0 && !entry->discarding)
        entry->deadline = (LONG)(GetTickCount() + times * timeout);
}

void registry_cancel_idle(REGISTRY *registry)
{
    REGISTRY_ENTRY *entry;

    AcquireSRWLockExclusive(&registry->lock);
    for (entry = registry->first; entry != NULL; entry = entry->next)
        if (has_passed(entry->deadline) && cancel(entry, NULL, "idle")) {
            /* Read again: the owner may have posted another operation before
             * the cancel, which has hit that one. */
            entry->expired = TRUE;
            entry->expiredDeadline = entry->deadline;
        }
    ReleaseSRWLockExclusive(&registry->lock);
}

BOOL registry_expired(const REGISTRY_ENTRY *entry)
{
    BOOL expired;

    /* Under the lock, because the packet of a cancelled operation may come
     * before the sweep has noted that it cancelled it. And only for that
     * operation: a cancel may come too late, and the connection goes on. */
    AcquireSRWLockShared(&entry->registry->lock);
    expired = entry->expired && entry->expiredDeadline == entry->deadline;
    ReleaseSRWLockShared(&entry->registry->lock);
    return expired;
}

/* -------------------------------- stopping ------------------------------- */

BOOL registry_discard(REGISTRY_ENTRY *entry)
{
    REGISTRY *registry = entry->registry;

    AcquireSRWLockExclusive(&registry->lock);
    entry->discarding = !registry->stop->cut;
    entry->deadline = (LONG)(GetTickCount() + LINGER);
    ReleaseSRWLockExclusive(&registry->lock);
    return entry->discarding;
}

static void sweep(REGISTRY *registry, BOOL everything)
{
    REGISTRY_ENTRY *entry;

    AcquireSRWLockExclusive(&registry->lock);
    for (entry = registry->first; entry != NULL; entry = entry->next)
        if (everything)
            cancel(entry, NULL, "stop");
        else if (!entry->discarding || has_passed(entry->deadline))
            cancel(entry, entry->receive, "stop");
    ReleaseSRWLockExclusive(&registry->lock);
}

/*
 * A worker that has not seen the stop yet posts one more READ: the next sweep
 * finds it. That is why there is more than one.
 */
void registry_drain(REGISTRY *registry, DWORD milliseconds)
{
    ULONGLONG start = GetTickCount64(), cutAt = 0;

    while (ask_to_be_woken(registry, 0)) {
        ULONGLONG now = GetTickCount64();
        DWORD took;

        if (now - start >= milliseconds)
            stop_cut(registry->stop);
        if (registry->stop->cut && cutAt == 0) {
            TRACE(trace_moment("cut"));
            cutAt = now;
        }
        fatal_unless(cutAt == 0 || now - cutAt < GIVE_UP,
                     "CancelIoEx (connections do not end)");
        sweep(registry, cutAt != 0);
        /* No connection ends while a sweep holds the lock. With many thousands
         * a sweep takes long: then they get as long to end. */
        took = (DWORD)(GetTickCount64() - now);
        fatal_unless(WaitForSingleObject(registry->fewer,
                                         DRAIN_INTERVAL + took)
                         != WAIT_FAILED,
                     "WaitForSingleObject (drain)");
    }
    TRACE(trace_moment("drain over"));
}
