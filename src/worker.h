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

typedef struct {
    HANDLE hComPort;        /* the port it waits on; the server owns it     */
    HANDLE hThread;         /* owned by the server: it joins and closes it  */
    DWORD id;               /* 1, 2, ...                                    */
    ULONGLONG completions;  /* packets of operations; set when it ends      */
} WORKER;

/* The thread function, for _beginthreadex; pWorker is its WORKER. */
unsigned WINAPI EchoThreadMain(LPVOID pWorker);

#endif
