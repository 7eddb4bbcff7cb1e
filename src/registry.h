/*
 * registry.h - all connections: the limit, the idle sweep, the stop.
 *
 * A list under one lock. A connection is on it from before its first post
 * until its owner is about to close the socket. So whoever holds the lock may
 * use the SOCKET of any connection listed, although it belongs to a worker or
 * to the kernel at that moment: that is how the sweeps cancel operations they
 * do not own. The lock is taken when a connection begins and ends, never for
 * an echo.
 */
#ifndef REGISTRY_H
#define REGISTRY_H

#include "connection.h"

typedef struct {
    ULONGLONG connections;      /* ever registered              */
    ULONGLONG received, sent;   /* bytes, of those that ended   */
    ULONGLONG failed;           /* ended by CLOSE_ERROR         */
    DWORD live;                 /* still there                  */
} REGISTRY_TOTALS;

void registry_add(LPPER_HANDLE_DATA handleInfo);

/* Takes a connection off the list and its bytes into the totals. Returns how
 * many are left. */
DWORD registry_remove(LPPER_HANDLE_DATA handleInfo, BOOL failed);

REGISTRY_TOTALS registry_totals(void);

/* How many connections there are, without the lock: it may be some that began
 * or ended in this moment too many or too few. */
DWORD registry_live(void);

/*
 * Waits until fewer than `limit` connections live (0: does not wait). FALSE if
 * the server is stopping.
 */
BOOL registry_wait_for_place(DWORD limit);

/*
 * Cancels what is outstanding on every connection without a packet in the last
 * `milliseconds` (up to 2^31): the worker that gets the packet closes it.
 */
void registry_cancel_idle(DWORD milliseconds);

/*
 * The stop. registry_stop lets workers know and wakes those that wait here;
 * called again, it cuts a drain short. registry_wait_for_stop waits for that,
 * at most so long (or a little less), and is TRUE once it has happened.
 *
 * registry_drain makes every connection end: it cancels receives and lets
 * sends finish for at most `milliseconds`, after that it cancels everything.
 * TRUE when no connection is left. FALSE if some can't end, which it says in
 * one line: because registry_abandon was called (no worker is left to take
 * their packets), or because the system has not given their operations back
 * ten seconds after they were cancelled.
 */
void registry_stop(void);
BOOL registry_stopping(void);
BOOL registry_wait_for_stop(DWORD milliseconds);
BOOL registry_drain(DWORD milliseconds);
void registry_abandon(void);

/*
 * Marks a connection, which the caller owns, as one that only waits for its
 * client to close: the drain lets it, as long as something comes. FALSE if the
 * drain is over and everything is being cancelled.
 */
BOOL registry_discard(LPPER_HANDLE_DATA handleInfo);

#endif
