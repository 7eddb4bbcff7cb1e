/*
 * registry.h - who is here: the limit, the idle sweep, the drain.
 *
 * A list of entries under one lock; every connection contains one entry. A
 * connection is listed from before its first post until its owner is about to
 * close the socket. So whoever holds the lock may use the socket of any entry,
 * although the connection belongs to a worker or to the kernel at that moment:
 * that is how the sweeps cancel operations that they do not own. The lock is
 * taken when a connection begins, ends or fails, never for an echo.
 */
#pragma once

#include "platform.h"
#include "stop.h"

typedef struct REGISTRY_ENTRY {
    struct REGISTRY *registry;
    struct REGISTRY_ENTRY *next, *previous;
    ULONGLONG id;          /* the connection's                             */
    SOCKET sock;
    OVERLAPPED *receive;   /* its READ's: the drain cancels only this one  */
    /* GetTickCount from which the connection is idle. The owner writes it
     * before each post, the sweeps read it, without a lock: an aligned LONG
     * is read and written in one piece, and nothing else depends on it. */
    volatile LONG deadline;
    /* Under the lock: */
    BOOL expired;          /* the idle sweep has cancelled an operation    */
    LONG expiredDeadline;  /* ... which had this deadline                  */
    BOOL discarding;       /* stopping: our FIN is sent; what comes is dropped
                              until the client's FIN. Only the owner writes
                              it, and so reads it without the lock         */
} REGISTRY_ENTRY;

typedef struct REGISTRY {
    STOP *stop;
    DWORD idleTimeout;                   /* ms; 0: never                   */
    HANDLE fewer;                        /* set when live is down to wakeAt */
    SRWLOCK lock;                        /* for what follows               */
    LONG wakeAt;                         /* -1: main does not wait         */
    REGISTRY_ENTRY *first;
    volatile LONG live;                  /* how many are listed; read without
                                            the lock it may be slightly stale */
    ULONGLONG connections;               /* ever listed                    */
    ULONGLONG received, sent, failed;    /* bytes and failures of the ended */
} REGISTRY;

/* Opens an empty registry, all zero before; the idle timeout is in ms. Returns
 * FALSE after one line that says why not. */
BOOL registry_open(REGISTRY *registry, STOP *stop, DWORD idleTimeout);
void registry_close(REGISTRY *registry);

/* List an entry, whose registry, id, sock and receive are set; take it off the
 * list, and the connection's bytes into the totals. Both return how many
 * connections are left. */
LONG registry_add(REGISTRY_ENTRY *entry);
LONG registry_remove(REGISTRY_ENTRY *entry, ULONGLONG received, ULONGLONG sent,
                     BOOL failed);

/* Waits until fewer than `limit` connections live (0: does not wait). Returns
 * FALSE once the server stops. */
BOOL registry_wait_for_place(REGISTRY *registry, DWORD limit);

/*
 * The idle timeout. registry_set_deadline gives the operation that the owner is
 * about to post `times` the timeout. registry_cancel_idle cancels what is
 * outstanding on every connection whose deadline has passed; the worker that
 * gets the packet closes it. registry_expired says whether that is why the
 * connection's last operation failed.
 */
void registry_set_deadline(REGISTRY_ENTRY *entry, DWORD times);
void registry_cancel_idle(REGISTRY *registry);
BOOL registry_expired(const REGISTRY_ENTRY *entry);

/*
 * Ends every connection once the server stops: cancels receives and lets sends
 * finish for at most `milliseconds`, or until stop_cut; then cancels everything.
 * Returns when no connection is left.
 */
void registry_drain(REGISTRY *registry, DWORD milliseconds);

/*
 * Marks a connection, which the caller owns, as one that only waits for its
 * client to close: the drain lets it, as long as something comes. Returns FALSE
 * if the drain is over and everything is being cancelled.
 */
BOOL registry_discard(REGISTRY_ENTRY *entry);
