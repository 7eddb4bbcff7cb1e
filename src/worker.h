/* worker.h - the threads that wait on the completion port. */
#pragma once

#include "connection.h"

/* Takes a packet, as GetQueuedCompletionStatus does: see batch.h. */
typedef BOOL (*TAKE)(void *from, DWORD *bytes, ULONG_PTR *key,
                     OVERLAPPED **overlapped);

typedef struct {
    SERVER *server;
    DWORD id;                /* 1, 2, ...                                   */
    TAKE take;             /* in place of GetQueuedCompletionStatus; or   */
    void *from;            /* NULL                                        */
    ULONGLONG completions;  /* operations that were done; set when it ends */
} WORKER;

/* The thread function, for _beginthreadex. The WORKER is this thread's alone
 * until it has ended. */
unsigned WINAPI EchoThreadMain(LPVOID pWorker);
