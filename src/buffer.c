/* buffer.c - two lists of buffers that are free. See buffer.h. */
#include "buffer.h"
#include "log.h"

/* What is kept of each size, about, and what is after a while in which nobody
 * needed one. */
#ifndef KEPT_BYTES
#define KEPT_BYTES (4u * 1024u * 1024u)
#endif
#define KEPT_WHEN_QUIET (64u * 1024u)

/*
 * Small ones first, then large: [large]. A pop reads the successor of the first
 * entry, which another thread may have taken meanwhile, and even freed. That
 * is harmless: the header counts what happens to the list, so the stale
 * successor is not put in; and the system expects this one read to fail.
 */
static SLIST_HEADER kept[2];
static DWORD sizes[2];

/* A buffer was borrowed since the last trim. Written only where it changes: a
 * store of the same value would take the cache line from the others, too. */
static volatile LONG used;

void buffer_open(DWORD largest)
{
    InitializeSListHead(&kept[FALSE]);
    InitializeSListHead(&kept[TRUE]);
    sizes[FALSE] = BUF_SIZE;
    sizes[TRUE] = largest;
}

/* Whole pages, not malloc: a receive locks the pages its buffer touches, and
 * what is freed is the system's again at once. (Windows gives out addresses by
 * 64 KiB: a 32-bit process has room for some 30,000 of these.) */
static char *allocate(DWORD size)
{
    return VirtualAlloc(NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

static void release(void *buffer)
{
    if (!VirtualFree(buffer, 0, MEM_RELEASE))
        log_failure("VirtualFree", (int)GetLastError(), NULL);
}

/* Frees what is kept of one size beyond so many bytes. */
static void free_kept(BOOL large, DWORD bytes)
{
    SLIST_ENTRY *buffer;

    while (QueryDepthSList(&kept[large]) * sizes[large] > bytes
           && (buffer = InterlockedPopEntrySList(&kept[large])) != NULL)
        release(buffer);
}

void buffer_trim(void)
{
    if (!used) {
        free_kept(FALSE, KEPT_WHEN_QUIET);
        free_kept(TRUE, KEPT_WHEN_QUIET);
    }
    used = FALSE;
}

void buffer_close(void)
{
    free_kept(FALSE, 0);
    free_kept(TRUE, 0);
}

DWORD buffer_size(BOOL large) { return sizes[large]; }

char *buffer_take(BOOL large)
{
    SLIST_ENTRY *buffer = InterlockedPopEntrySList(&kept[large]);

    if (!used)
        used = TRUE;
    return buffer != NULL ? (char *)buffer : allocate(sizes[large]);
}

void buffer_give(char *buffer, BOOL large)
{
    if (buffer == NULL)
        return;
    if ((QueryDepthSList(&kept[large]) + 1u) * sizes[large] > KEPT_BYTES)
        release(buffer);
    else
        InterlockedPushEntrySList(&kept[large], (SLIST_ENTRY *)(void *)buffer);
}
