/*
 * batch.h - --batch and --inline: packets that are taken several in one call,
 * or that are not needed for what is done at once.
 */
#pragma once

#include "connection.h"

/* What a worker of that kind has taken and not handled yet. */
typedef struct {
    SERVER *server;
    LPPER_HANDLE_DATA done;  /* list of those whose operation is done and
                                gave no packet                              */
    DWORD rounds;            /* of those; 0: the entries are packets        */
    ULONGLONG waits;         /* calls for packets                           */
    ULONGLONG inlined;       /* operations that were done without a packet  */
    ULONG next, count;       /* in the entries, of those not handled        */
    OVERLAPPED_ENTRY entries[MAX_BATCH];
} BATCH;

/*
 * Takes the next packet from the BATCH or, when it is empty, from the port, as
 * GetQueuedCompletionStatus does. For WORKER.take: called on the worker's
 * thread alone, when it has handled the packet before.
 */
BOOL batch_take(void *pBatch, DWORD *bytes, ULONG_PTR *key,
                OVERLAPPED **overlapped);
