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
    InitializeSListHead(&buffers->kept[BUFFER_SMALL]);
    InitializeSListHead(&buffers->kept[BUFFER_LARGE]);
    buffers->size[BUFFER_SMALL] = BUF_SIZE;
    buffers->size[BUFFER_LARGE] = largest;
    buffers->lendsAll = lendsAll;
}

/* Allocates whole pages, not by malloc: a receive locks the pages that its
 * buffer touches, and what is freed is the system's again at once. (Windows
 * gives out addresses by 64 KiB: a 32-bit process has room for some 30,000.) */
static char *allocate(DWORD size)
{
    return VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

static void release(void *data)
{
    log_unless(VirtualFree(data, 0, MEM_RELEASE), "VirtualFree");
}

/* Frees what is kept of one kind beyond `bytes`. */
static void free_kept(BUFFERS *buffers, BUFFER_KIND kind, DWORD bytes)
{
    SLIST_HEADER *kept = &buffers->kept[kind];
    SLIST_ENTRY *data;

    /* A pop reads the successor of the first entry, which another thread may
     * have taken meanwhile, and even freed. That is harmless: the header counts
     * what happens to the list, so a stale successor is not put in; and the
     * system expects this one read to fail. */
    while (QueryDepthSList(kept) * buffers->size[kind] > bytes
           && (data = InterlockedPopEntrySList(kept)) != NULL)
        release(data);
}

void buffers_trim(BUFFERS *buffers)
{
    if (!buffers->used) {
        free_kept(buffers, BUFFER_SMALL, KEPT_WHEN_QUIET);
        free_kept(buffers, BUFFER_LARGE, KEPT_WHEN_QUIET);
    }
    buffers->used = FALSE;
}

void buffers_close(BUFFERS *buffers)
{
    free_kept(buffers, BUFFER_SMALL, 0);
    free_kept(buffers, BUFFER_LARGE, 0);
}

/* ---------------------------- one connection's --------------------------- */

/* Borrows a buffer of this kind. Returns FALSE if there is no memory. */
static BOOL borrow(BUFFERS *buffers, BUFFER *buffer, BUFFER_KIND kind)
{
    char *data = (char *)InterlockedPopEntrySList(&buffers->kept[kind]);

    /* Written only where it changes: even a store of the same value would take
     * the cache line from the other workers. */
    if (!buffers->used)
        buffers->used = TRUE;
    if (data == NULL)
        data = allocate(buffers->size[kind]);
    if (data == NULL)
        return FALSE;
    buffer->data = data;
    buffer->size = buffers->size[kind];
    buffer->kind = (BYTE)kind;
    return TRUE;
}

void buffer_return(BUFFERS *buffers, BUFFER *buffer)
{
    SLIST_HEADER *kept = &buffers->kept[buffer->kind];

    if (buffer->size != 0 && buffer->data != buffer->own) {
        if ((QueryDepthSList(kept) + 1u) * buffer->size > KEPT_BYTES)
            release(buffer->data);
        else
            InterlockedPushEntrySList(kept,
                                      (SLIST_ENTRY *)(void *)buffer->data);
    }
    buffer->data = buffer->own;
    buffer->size = buffer->own != NULL ? BUF_SIZE : 0;
    buffer->kind = BUFFER_SMALL;
}

BOOL buffer_prepare(BUFFERS *buffers, BUFFER *buffer, BOOL announced)
{
    BOOL fits = buffer->size != 0 && buffer->kind == buffer->wanted;

    if (fits && (announced || !buffers->lendsAll))
        return TRUE;
    buffer_return(buffers, buffer);
    if (buffers->lendsAll && !announced)
        return TRUE;
    if (buffer->wanted == BUFFER_LARGE
        && borrow(buffers, buffer, BUFFER_LARGE))
        return TRUE;
    buffer->wanted = BUFFER_SMALL;  /* the next full READ asks again */
    return buffer->size != 0 || borrow(buffers, buffer, BUFFER_SMALL);
}

void buffer_received(const BUFFERS *buffers, BUFFER *buffer, DWORD bytes)
{
    if (bytes == buffer->size) {
        /* It is full: most likely more is waiting. */
        if (buffers->size[BUFFER_LARGE] > BUF_SIZE)
            buffer->wanted = BUFFER_LARGE;
        buffer->smallReads = 0;
    } else if (bytes >= BUF_SIZE) {
        buffer->smallReads = 0;
    } else if (buffer->kind == BUFFER_LARGE
               && ++buffer->smallReads == SMALL_READS) {
        buffer->wanted = BUFFER_SMALL;
        buffer->smallReads = 0;
    }
}
