/* pool.h - threads: started together, ended by one sentinel each, joined. */
#pragma once

#include "options.h"

/*
 * The packet that ends one worker: no OVERLAPPED, and a key that no connection
 * can have, because a connection's key is its address.
 */
#define SENTINEL_KEY ((ULONG_PTR)0)

typedef struct {
    DWORD count;                  /* threads that were started              */
    HANDLE threads[MAX_WORKERS];  /* their handles                          */
} POOL;

typedef unsigned(WINAPI *THREAD_MAIN)(LPVOID argument);

/*
 * Starts `count` threads in `threadMain`, in a pool that was all zero. The first
 * gets `arguments`, each other one what lies `size` bytes further; it must stay
 * there until pool_join. Returns FALSE after one line that says why not;
 * pool->count were started then.
 */
BOOL pool_start(POOL *pool, DWORD count, THREAD_MAIN threadMain,
                void *arguments, size_t size);

/* Posts `count` sentinels to the port. */
void pool_post_sentinels(HANDLE hComPort, DWORD count);

/* Waits until every thread has ended. */
void pool_join(POOL *pool);
