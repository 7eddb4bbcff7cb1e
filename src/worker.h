/* worker.h - the threads that wait on the completion port. */
#pragma once

#include "connection.h"

/* Takes a packet, as GetQueuedCompletionStatus does: see batch.h. */
typedef BOOL (*TAKE)(void *from, DWORD *bytes, ULONG_PTR *key,
                     OVERLAPPED **overlapped);

typedef struct {
    SERVER *server;
    DWORD id;                  /* 1, 2, ...                                 */
    TAKE take;                 /* in place of GetQueuedCompletionStatus; or */
    void *from;                /* NULL                                      */
    /* Set when it ends: */
    ULONGLONG completions;     /* packets of operations                     */
    ULONGLONG waits, inlined;  /* of its BATCH, if it has one               */
} WORKER;

/* The thread function, for _beginthreadex. The WORKER is this thread's alone
 * until it has ended. */
unsigned WINAPI EchoThreadMain(LPVOID pWorker);
