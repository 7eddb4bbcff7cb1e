/*
 * registry.h - who is here: the limit, the idle sweep, the drain.
 *
 * A list of entries under one lock; every connection contains one entry. A
 * connection is listed from before its first post until its owner is about to
 * close the socket. So whoever holds the lock may use the socket of any entry,
 * although the connection belongs to a worker or to the kernel at that moment:
 * that is how the sweeps cancel operations that they do not own. Besides them,
 * a connection takes the lock when it begins and when it ends, and an echo only
 * if a sweep has just claimed its buffer.
 */
#pragma once

#include "stop.h"

typedef struct REGISTRY_ENTRY {
    struct REGISTRY *registry;
    struct REGISTRY_ENTRY *next, *previous;
    ULONGLONG id;          /* the connection's                             */
    SOCKET sock;
    OVERLAPPED *receive;   /* its READ's: the drain cancels only this one  */
    /* GetTickCount from which its operation is late; 0: never; or RECLAIMED.
     * The owner writes it before each post, without the lock. The sweeps read
     * it, and write RECLAIMED only if it has not changed since. */
    volatile LONG deadline;
    volatile LONG discarding;  /* stopping: our FIN is sent; what comes is
                              dropped until the client's FIN. The owner sets
                              it, after the deadline, and never clears it  */
} REGISTRY_ENTRY;

typedef struct REGISTRY {
    STOP *stop;
    LONG limit;                          /* connections at once; 0: none   */
    HANDLE fewer;                        /* set when live falls below the
                                            limit, and when it reaches 0   */
    SRWLOCK lock;                        /* for what follows               */
    REGISTRY_ENTRY head;                 /* of a ring; no connection's     */
    volatile LONG live;                  /* how many are listed; read without
                                            the lock it may be slightly stale */
    ULONGLONG connections;               /* ever listed                    */
    ULONGLONG received, sent, failed;    /* bytes and failures of the ended */
} REGISTRY;

/* Opens an empty registry, all zero before. */
void registry_open(REGISTRY *registry, STOP *stop, LONG limit);
void registry_close(REGISTRY *registry);

/* registry_add lists an entry that was all zero; registry_remove takes it off
 * the list and adds its bytes to the totals. Both return how many are listed
 * then. */
LONG registry_add(REGISTRY *registry, REGISTRY_ENTRY *entry, ULONGLONG id,
                  SOCKET sock, OVERLAPPED *receive);
LONG registry_remove(REGISTRY_ENTRY *entry, ULONGLONG received, ULONGLONG sent,
                     BOOL failed);

/* Waits until fewer connections live than the limit. Returns FALSE once the
 * server stops. Only main waits, and only main adds connections. */
BOOL registry_wait_for_place(REGISTRY *registry);

/*
 * Cancels what must end; the packet tells the owner. That is
 *   - whatever is late;
 *   - while the server runs, a READ whose larger buffer is wanted back;
 *   - once it stops, each READ, except of a connection that is discarding;
 *   - after stop_cut, everything.
 */
void registry_sweep(REGISTRY *registry);

/* registry_set_deadline says how long the operation may take that the owner is
 * about to post (0: for ever). `lent` is for a READ with a larger buffer: it is
 * never late, but after that time a sweep makes the deadline RECLAIMED and
 * cancels the READ, to get the buffer back. registry_is_late returns whether
 * any other operation has taken longer. */
#define RECLAIMED 1

void registry_set_deadline(REGISTRY_ENTRY *entry, DWORD milliseconds,
                           BOOL lent);
BOOL registry_is_late(const REGISTRY_ENTRY *entry);

/*
 * Ends every connection once the server stops: sweeps until no connection is
 * left, and cuts the drain after `milliseconds`, unless it is cut before.
 */
void registry_drain(REGISTRY *registry, DWORD milliseconds);

/*
 * Marks a connection, which the caller owns, as discarding: it only waits for
 * its client to close. Each call gives the client another second. Returns FALSE
 * if the drain is over and everything is being cancelled.
 */
BOOL registry_discard(REGISTRY_ENTRY *entry);
