/* worker.h - the threads that wait on the completion port. */
#pragma once

#include "connection.h"

typedef struct {
    SERVER *server;
    DWORD id;                  /* 1, 2, ...                                 */
    /* Called instead of GetQueuedCompletionStatus: batch_take, or NULL. */
    BOOL (*take)(void *from, DWORD *bytes, ULONG_PTR *key, OVERLAPPED **);
    void *from;
    /* Set when it ends: */
    ULONGLONG completions;     /* operations handled, also those inlined    */
    ULONGLONG waits, inlined;  /* of its BATCH, if it has one               */
} WORKER;

/* The thread function, for _beginthreadex. The WORKER is this thread's alone
 * until it has ended. */
unsigned WINAPI EchoThreadMain(LPVOID pWorker);
