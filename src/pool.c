/* pool.c - starts threads and joins them. See pool.h. */
#include "pool.h"
#include "log.h"
#include "trace.h"

#include <process.h>
#include <stdio.h>
#include <stdlib.h>

#define STACK      (256u * 1024u)  /* bytes reserved; a fraction is used */
#define POST_TRIES 10              /* attempts to post one sentinel      */
#define POST_PAUSE 100             /* ms between two of them             */

BOOL pool_start(POOL *pool, DWORD count, THREAD_MAIN threadMain,
                void *arguments, size_t size)
{
    char what[48];

    pool->threads = calloc(count, sizeof *pool->threads);
    if (pool->threads == NULL) {
        log_error("no memory for %lu threads", count);
        return FALSE;
    }
    for (; pool->count < count; ++pool->count) {
        uintptr_t thread = _beginthreadex(
            NULL, STACK, threadMain, (char *)arguments + pool->count * size,
            STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);

        if (thread == 0) {
            snprintf(what, sizeof what, "_beginthreadex (thread %lu of %lu)",
                     pool->count + 1, count);
            log_failure(what, (int)_doserrno, "try fewer --workers");
            return FALSE;
        }
        pool->threads[pool->count] = (HANDLE)thread;
    }
    return TRUE;
}

/* Memory may be short for a moment, and no worker ends without its sentinel. */
static void post_sentinel(HANDLE hComPort)
{
    int tries = 1;

    TRACE(trace_moment("sentinel posted"));
    while (!PostQueuedCompletionStatus(hComPort, 0, SENTINEL_KEY, NULL)) {
        fatal_unless(tries++ < POST_TRIES,
                     "PostQueuedCompletionStatus (sentinel)");
        Sleep(POST_PAUSE);
    }
}

void pool_post_sentinels(HANDLE hComPort, DWORD count)
{
    while (count-- > 0)
        post_sentinel(hComPort);
}

void pool_join(POOL *pool)
{
    DWORD i;

    /* One handle at a time: WaitForMultipleObjects stops at 64. */
    for (i = 0; i < pool->count; ++i) {
        fatal_unless(WaitForSingleObject(pool->threads[i], INFINITE)
                         == WAIT_OBJECT_0,
                     "WaitForSingleObject (thread)");
        log_unless(CloseHandle(pool->threads[i]), "CloseHandle (thread)");
    }
    free(pool->threads);
}
