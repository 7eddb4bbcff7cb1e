/* thread.c - handles, events, threads, locks, and what clocks they pass on. */
#include "world.h"

unsigned long _doserrno;

/* -------------------------------- handles -------------------------------- */

/* Reuses a closed handle's number at once, as Windows does. */
OBJECT *object_open(KIND kind)
{
    OBJECT *object = world.objects;

    while (object->kind != NOTHING)
        if (++object == world.objects + MAX_OBJECTS)
            blame("more than %d handles", MAX_OBJECTS);
    memset(object, 0, sizeof *object);
    object->kind = kind;
    memory_is_new(object, sizeof object->kind);
    return object;
}

HANDLE object_handle(const OBJECT *object)
{
    return (HANDLE)(ULONG_PTR)((object - world.objects + 1) * 4);
}

OBJECT *object_at(HANDLE handle)
{
    ULONG_PTR number = (ULONG_PTR)handle / 4 - 1;

    if (number >= MAX_OBJECTS)
        blame("no handle");
    return &world.objects[number];
}

/* Returns NULL for the listener if it is closed, as it may be at any moment. */
OBJECT *object_of(HANDLE handle, KIND kind)
{
    OBJECT *object = object_at(handle);

    if (object->kind == kind)
        return object;
    if (kind != LISTENER)
        blame("a handle that is not open, or of another kind");
    return NULL;
}

void object_close(OBJECT *object)
{
    tell("closes handle %u", (unsigned)(object - world.objects));
    object->kind = NOTHING;
}

BOOL CloseHandle(HANDLE handle)
{
    OBJECT *object = object_at(handle);

    CALL(CloseHandle, FALSE);
    if (object->kind == NOTHING || object->kind == SOCKET_HANDLE
        || object->kind == LISTENER || object->kind == OUTPUT)
        blame("CloseHandle on what is not open, or not its own");
    if (object->kind == THREAD_HANDLE)
        object->thread->held = FALSE;
    if (object->kind == PORT)
        world.port = NULL;
    object_close(object);
    return TRUE;
}

/* --------------------------------- events -------------------------------- */

HANDLE CreateEventW(SECURITY_ATTRIBUTES *security, BOOL manual, BOOL set,
                    const WCHAR *name)
{
    CALL(CreateEventW, NULL);
    OBJECT *event = object_open(EVENT);

    event->manual = manual;
    event->set = set;
    return object_handle(event);
}

BOOL SetEvent(HANDLE handle)
{
    CALL(SetEvent, FALSE);
    OBJECT *event = object_of(handle, EVENT);

    tell("sets event %u", (unsigned)(event - world.objects));
    clock_release(event);
    event->set = TRUE;
    point();
    return TRUE;
}

static BOOL signalled(void *pObject)
{
    const OBJECT *object = pObject;

    return object->kind == THREAD_HANDLE ? object->thread->state == ENDED
                                         : object->set;
}

static void take(OBJECT *object)
{
    clock_acquire(object->kind == THREAD_HANDLE ? (void *)object->thread
                                                : object);
    if (object->kind == EVENT && !object->manual)
        object->set = FALSE;
}

static OBJECT *waitable(HANDLE handle)
{
    OBJECT *object = object_at(handle);

    if (object->kind != EVENT && object->kind != THREAD_HANDLE)
        blame("a wait for what is no event and no thread");
    return object;
}

DWORD WaitForSingleObject(HANDLE handle, DWORD milliseconds)
{
    CALL(WaitForSingleObject, WAIT_FAILED);
    OBJECT *object = waitable(handle);

    if (!wait_for(signalled, object, milliseconds))
        return WAIT_TIMEOUT;
    take(object);
    return WAIT_OBJECT_0;
}

static BOOL either_signalled(void *pHandles)
{
    HANDLE *handles = pHandles;

    return signalled(waitable(handles[0])) || signalled(waitable(handles[1]));
}

DWORD WaitForMultipleObjects(DWORD count, const HANDLE *handles, BOOL all,
                             DWORD milliseconds)
{
    DWORD i;

    CALL(WaitForMultipleObjects, WAIT_FAILED);
    if (count != 2 || all)
        blame("WaitForMultipleObjects: only two, any of them, are simulated");
    if (!wait_for(either_signalled, (void *)(ULONG_PTR)handles, milliseconds))
        return WAIT_TIMEOUT;
    i = signalled(waitable(handles[0])) ? 0 : 1;
    take(waitable(handles[i]));
    return WAIT_OBJECT_0 + i;
}

/* -------------------------------- threads -------------------------------- */

uintptr_t _beginthreadex(void *security, unsigned stack,
                         unsigned (*start)(void *), void *argument,
                         unsigned flags, unsigned *id)
{
    OBJECT *object;

    _doserrno = ERROR_NOT_ENOUGH_MEMORY;
    CALL(_beginthreadex, 0);
    object = object_open(THREAD_HANDLE);
    object->thread = thread_start("thread", start, argument);
    object->thread->held = TRUE;
    clock_release(object->thread);
    tell("starts thread %d", object->thread->number);
    point();
    return (uintptr_t)object_handle(object);
}

void Sleep(DWORD milliseconds)
{
    enter(CALL_Sleep);
    wait_for(nothing, NULL, milliseconds);
}

DWORD GetCurrentThreadId(void) { return 100 + (DWORD)world.running->number; }
DWORD GetLastError(void) { return world.running->error; }
void SetLastError(DWORD error) { world.running->error = error; }
int WSAGetLastError(void) { return (int)world.running->error; }
HANDLE GetCurrentProcess(void) { return INVALID_HANDLE_VALUE; }

/* ---------------------------------- locks -------------------------------- */

/* Locks are not fair: the first thread that comes takes one. */
static BOOL lock_is_free(void *pLock) { return *(void **)pLock == NULL; }

void InitializeSRWLock(SRWLOCK *lock) { lock->Ptr = NULL; }

void AcquireSRWLockExclusive(SRWLOCK *lock)
{
    enter(CALL_Acquire);
    if (lock->Ptr == world.running)
        blame("a lock is taken twice by the same thread");
    if (lock->Ptr != NULL)
        hold_ends(lock->Ptr);
    wait_for(lock_is_free, lock, INFINITE);
    lock->Ptr = world.running;
    clock_acquire(lock);
}

void ReleaseSRWLockExclusive(SRWLOCK *lock)
{
    if (lock->Ptr != world.running)
        blame("a thread releases a lock that it has not taken");
    clock_release(lock);
    lock->Ptr = NULL;
    enter(CALL_Release);
}

static void interlocked(const volatile void *target)
{
    enter(CALL_Interlocked);
    clock_acquire(target);
    clock_release(target);
}

/* The end of such a call. Returns the old value. */
static LONG replace(volatile LONG *target, LONG value)
{
    LONG old = *target;

    *target = value;
    point();
    return old;
}

LONG InterlockedExchange(volatile LONG *target, LONG value)
{
    interlocked(target);
    return replace(target, value);
}

LONG InterlockedExchangeAdd(volatile LONG *target, LONG value)
{
    interlocked(target);
    return replace(target, *target + value);
}

LONG InterlockedCompareExchange(volatile LONG *target, LONG value,
                                LONG comparand)
{
    interlocked(target);
    return replace(target, *target == comparand ? value : *target);
}

void *InterlockedCompareExchangePointer(void *volatile *target, void *value,
                                        void *comparand)
{
    void *old;

    interlocked(target);
    old = *target;
    if (old == comparand)
        *target = value;
    point();
    return old;
}
