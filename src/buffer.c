/* buffer.c - two lists of free buffers, and who gets which. See buffer.h. */
#include "buffer.h"
#include "log.h"

/* How many bytes of each kind are kept, and how many after a while in which
 * nobody needed one. */
#ifndef KEPT_BYTES
#define KEPT_BYTES (4u * 1024u * 1024u)
#endif
#define KEPT_WHEN_QUIET (64u * 1024u)

/* After this many READs in a row that a small buffer would have held, the
 * large one goes back. */
#define SMALL_READS 8

/* ------------------------------- the lists ------------------------------- */

void buffers_open(BUFFERS *buffers, DWORD largest, BOOL lendsAll)
{
    InitializeSListHead(&buffers->small.kept);
    InitializeSListHead(&buffers->large.kept);
    buffers->small.size = BUF_SIZE;
    buffers->large.size = largest;
    buffers->lendsAll = lendsAll;
}

static void release(void *data)
{
    log_unless(VirtualFree(data, 0, MEM_RELEASE), "VirtualFree");
}

/* Frees what is kept beyond `bytes`. */
static void free_kept(BUFFER_LIST *list, DWORD bytes)
{
    SLIST_ENTRY *data;

    /* A pop reads the successor of the first entry, which another thread may
     * have taken meanwhile, and even freed. That is harmless: the header counts
     * what happens to the list, so a stale successor is not put in; and the
     * system expects this one read to fail. */
    while (QueryDepthSList(&list->kept) * list->size > bytes
           && (data = InterlockedPopEntrySList(&list->kept)) != NULL)
        release(data);
}

void buffers_trim(BUFFERS *buffers)
{
    if (!buffers->used) {
        free_kept(&buffers->small, KEPT_WHEN_QUIET);
        free_kept(&buffers->large, KEPT_WHEN_QUIET);
    }
    buffers->used = FALSE;
}

void buffers_close(BUFFERS *buffers)
{
    free_kept(&buffers->small, 0);
    free_kept(&buffers->large, 0);
}

/* ---------------------------- one connection's --------------------------- */

/* Borrows a buffer of this list. Returns FALSE if there is no memory. */
static BOOL borrow(BUFFERS *buffers, BUFFER *buffer, BUFFER_LIST *list)
{
    char *data = (char *)InterlockedPopEntrySList(&list->kept);

    /* Written only where it changes: even a store of the same value would take
     * the cache line from the other workers. */
    if (!buffers->used)
        buffers->used = TRUE;
    /* Whole pages, not by malloc: a receive locks the pages that its buffer
     * touches, and what is freed is the system's again at once. (Windows gives
     * out addresses by 64 KiB: a 32-bit process has room for some 30,000.) */
    if (data == NULL)
        data = VirtualAlloc(NULL, list->size, MEM_RESERVE | MEM_COMMIT,
                            PAGE_READWRITE);
    if (data == NULL)
        return FALSE;
    buffer->data = data;
    buffer->size = list->size;
    buffer->from = list;
    return TRUE;
}

void buffer_return(BUFFER *buffer)
{
    BUFFER_LIST *list = buffer->from;

    if (list != NULL
        && (QueryDepthSList(&list->kept) + 1u) * list->size > KEPT_BYTES)
        release(buffer->data);
    else if (list != NULL)
        InterlockedPushEntrySList(&list->kept,
                                  (SLIST_ENTRY *)(void *)buffer->data);
    buffer->from = NULL;
    buffer->data = buffer->own;
    buffer->size = buffer->own != NULL ? BUF_SIZE : 0;
}

BOOL buffer_prepare(BUFFERS *buffers, BUFFER *buffer, BOOL announced)
{
    BOOL isLarge = buffer->from == &buffers->large;
    BOOL needed = announced || !buffers->lendsAll;

    if (needed && buffer->size != 0 && isLarge == buffer->wantsLarge)
        return TRUE;
    buffer_return(buffer);
    if (!needed
        || (buffer->wantsLarge && borrow(buffers, buffer, &buffers->large)))
        return TRUE;
    buffer->wantsLarge = FALSE;  /* the next full READ asks again */
    return buffer->size != 0 || borrow(buffers, buffer, &buffers->small);
}

void buffer_received(const BUFFERS *buffers, BUFFER *buffer, DWORD bytes)
{
    BOOL isLarge = buffer->from == &buffers->large;

    if (!isLarge || bytes >= BUF_SIZE)
        buffer->smallReads = 0;
    else if (++buffer->smallReads == SMALL_READS)
        buffer->wantsLarge = FALSE;
    /* It is full: most likely more is waiting. */
    if (bytes == buffer->size)
        buffer->wantsLarge = buffers->large.size > BUF_SIZE;
}
