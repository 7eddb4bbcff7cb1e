/* worker.h - the threads that wait on the completion port. */
#ifndef WORKER_H
#define WORKER_H

#include "platform.h"

/*
 * The packet that ends one worker: no OVERLAPPED, and a key that no connection
 * can have, because a connection's key is its address.
 */
#define SENTINEL_KEY ((ULONG_PTR)0)

/* The key of the packets that main posts for --post: odd, as no address of a
 * connection is. */
#define POSTED_KEY ((ULONG_PTR)1)

#define MAX_BATCH 256u  /* packets a worker takes in one call, at most */

typedef struct {
    HANDLE hComPort;        /* the port it waits on; the server owns it     */
    DWORD id;               /* 1, 2, ...                                    */
    DWORD batch;            /* packets to take in one call, 1 to MAX_BATCH  */
    DWORD inlineLimit;      /* operations done at once to handle in a row   */
    /* Set when it ends: */
    ULONGLONG completions;  /* packets of operations                        */
    ULONGLONG waits;        /* calls that took packets                      */
    ULONGLONG inlined;      /* operations that were done without a packet   */
} WORKER;

/* The thread function, for _beginthreadex; pWorker is its WORKER, nobody
 * else's until the thread has ended. */
unsigned WINAPI EchoThreadMain(LPVOID pWorker);

#endif
