/* pool.h - the threads: starts them, posts the workers' sentinels, joins. */
#pragma once

#include "options.h"

/*
 * The packet that ends one worker: no OVERLAPPED, and a key that no connection
 * can have, because a connection's key is its address.
 */
#define SENTINEL_KEY ((ULONG_PTR)0)

#define MAX_THREADS (MAX_WORKERS + 1)  /* with the sweeper */

typedef struct {
    DWORD count;                  /* threads that were started              */
    HANDLE threads[MAX_THREADS];  /* their handles                          */
} POOL;

typedef unsigned(WINAPI *THREAD_MAIN)(LPVOID argument);

/* Starts a thread in `threadMain` and adds it to the pool, which was all zero
 * at first. `argument` must stay until pool_join. */
void pool_start(POOL *pool, THREAD_MAIN threadMain, void *argument);

/* Posts `count` sentinels to the port. */
void pool_post_sentinels(HANDLE hComPort, DWORD count);

/* Waits until every thread has ended. */
void pool_join(POOL *pool);
