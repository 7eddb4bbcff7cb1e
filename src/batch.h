/*
 * batch.h - --batch and --inline: several packets in one call, and none for
 * what is done at once.
 */
#pragma once

#include "connection.h"

/* What such a worker has taken, but not handled yet. */
typedef struct {
    SERVER *server;
    LPPER_HANDLE_DATA done;  /* list of connections whose operation is done
                                and gave no packet                          */
    DWORD rounds;            /* of that list; 0: the entries are packets    */
    ULONGLONG waits;         /* calls for packets                           */
    ULONGLONG inlined;       /* operations that were done without a packet  */
    ULONG next, count;       /* entries: the next to handle, how many       */
    OVERLAPPED_ENTRY entries[MAX_BATCH];
} BATCH;

/*
 * Takes the next packet from the BATCH or, when it is empty, from the port, as
 * GetQueuedCompletionStatus does. For WORKER.take: only the worker's thread
 * calls it, once it has handled the previous packet.
 */
BOOL batch_take(void *pBatch, DWORD *bytes, ULONG_PTR *key,
                OVERLAPPED **overlapped);
