/* pool.c - starts threads and joins them. See pool.h. */
#include "pool.h"
#include "log.h"
#include "trace.h"

#include <process.h>
#include <stdlib.h>

#define STACK      (256u * 1024u)  /* bytes reserved; a fraction is used */
#define POST_TRIES 10              /* attempts to post one sentinel      */
#define POST_PAUSE 100             /* ms between two of them             */

void pool_start(POOL *pool, THREAD_MAIN threadMain, void *argument)
{
    uintptr_t thread = _beginthreadex(NULL, STACK, threadMain, argument,
                                      STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);

    if (thread == 0)
        SetLastError((DWORD)_doserrno);
    fatal_unless(thread != 0, "_beginthreadex (try fewer --workers)");
    pool->threads[pool->count++] = (HANDLE)thread;
}

void pool_post_sentinels(HANDLE hComPort, DWORD count)
{
    int tries;

    for (; count > 0; --count) {
        TRACE(trace_moment("sentinel posted"));
        /* Memory may be short for a moment, and no worker ends without its
         * sentinel. */
        for (tries = 1;
             !PostQueuedCompletionStatus(hComPort, 0, SENTINEL_KEY, NULL);
             ++tries) {
            fatal_unless(tries < POST_TRIES,
                         "PostQueuedCompletionStatus (sentinel)");
            Sleep(POST_PAUSE);
        }
    }
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
}
