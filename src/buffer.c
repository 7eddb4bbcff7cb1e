/* buffer.c - a list of free buffers for each size, and who gets which. See
 * buffer.h. */
#include "buffer.h"
#include "log.h"

/* After this many READs in a row that brought less than the next smaller size,
 * a connection goes back to that size. */
#define SMALL_READS 8

/* One READ that fills a small buffer brings the next larger one. The one after
 * that takes this many full READs, in a row or not: 16 MiB of 64 KiB each, more
 * than the systems on both sides hold for a client that does not read. */
#ifndef FULL_READS
#define FULL_READS 256

/* How many bytes of each size are kept. */
#define KEPT_BYTES 1048576u
#endif

/* ------------------------------- the lists ------------------------------- */

void buffers_open(BUFFERS *buffers, const OPTIONS *options)
{
    static const DWORD sizes[BUFFER_SIZES] = {BUF_SIZE, 65536, MAX_BUFFER};
    DWORD i;

    for (i = 0; i < BUFFER_SIZES; ++i) {
        InitializeSListHead(&buffers->kept[i]);
        buffers->sizes[i] = min(sizes[i], options->largestBuffer);
        if (buffers->sizes[i] > buffers->sizes[buffers->last])
            buffers->last = i;
    }
    buffers->limit = (LONG)(options->lentBuffers * 1024 * 1024);
    buffers->onlyAnnounced = options->zeroByteRecv != 0;
}

static void release(void *data)
{
    log_unless(VirtualFree(data, 0, MEM_RELEASE), "VirtualFree");
}

void buffers_close(BUFFERS *buffers)
{
    DWORD i;

    for (i = 0; i < BUFFER_SIZES; ++i)
        while (QueryDepthSList(&buffers->kept[i]) > 0)
            release(InterlockedPopEntrySList(&buffers->kept[i]));
}

/* ---------------------------- one connection's --------------------------- */

/* Counts a buffer as lent. Returns FALSE if that would pass the limit. */
static BOOL lend(BUFFERS *buffers, LONG size)
{
    if (InterlockedExchangeAdd(&buffers->lent, size) + size <= buffers->limit)
        return TRUE;
    InterlockedExchangeAdd(&buffers->lent, -size);
    return FALSE;
}

/* Borrows a buffer of this size. Returns FALSE if there is none. */
static BOOL borrow(BUFFERS *buffers, BUFFER *buffer, DWORD step)
{
    DWORD size = buffers->sizes[step];

    if (step > 0 && !lend(buffers, (LONG)size))
        return FALSE;
    /* Whole pages, not malloc: a receive locks the pages that its buffer
     * touches, and the system gets freed pages back at once. (Even a small one
     * takes 64 KiB of addresses: a 32-bit process has room for some 60,000.) */
    buffer->data = (char *)InterlockedPopEntrySList(&buffers->kept[step]);
    if (buffer->data == NULL)
        buffer->data = VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT,
                                    PAGE_READWRITE);
    if (buffer->data == NULL && step > 0)
        InterlockedExchangeAdd(&buffers->lent, -(LONG)size);
    buffer->size = size;
    buffer->step = step;
    return buffer->data != NULL;
}

void buffer_return(BUFFERS *buffers, BUFFER *buffer)
{
    SLIST_HEADER *kept = &buffers->kept[buffer->step];

    if (buffer->data == NULL)
        return;
    if ((QueryDepthSList(kept) + 1u) * buffer->size > KEPT_BYTES)
        release(buffer->data);
    else
        InterlockedPushEntrySList(kept, (SLIST_ENTRY *)(void *)buffer->data);
    if (buffer->step > 0)
        InterlockedExchangeAdd(&buffers->lent, -(LONG)buffer->size);
    buffer->data = NULL;
    buffer->size = 0;
}

BOOL buffer_prepare(BUFFERS *buffers, BUFFER *buffer, BOOL announced)
{
    BOOL needed = announced || !buffers->onlyAnnounced;

    if (needed && buffer->data != NULL && buffer->step == buffer->wanted)
        return TRUE;
    buffer_return(buffers, buffer);
    while (needed && !borrow(buffers, buffer, buffer->wanted))
        if (buffer->wanted-- == 0)
            return FALSE;
    return TRUE;
}

void buffer_received(const BUFFERS *buffers, BUFFER *buffer, DWORD bytes)
{
    DWORD step = buffer->step;

    if (bytes == buffer->size)
        ++buffer->fullReads;
    if (step > 0 && bytes < buffers->sizes[step - 1])
        ++buffer->smallReads;
    else
        buffer->smallReads = 0;
    if (buffer->smallReads == SMALL_READS)
        buffer->wanted = step - 1;
    else if (buffer->fullReads == (step == 0 ? 1 : FULL_READS))
        buffer->wanted = min(step + 1, buffers->last);
    else
        return;
    buffer->smallReads = buffer->fullReads = 0;
}
