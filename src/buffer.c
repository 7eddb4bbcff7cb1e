/* buffer.c - two lists of buffers that are free. See buffer.h. */
#include "buffer.h"

#include <stdlib.h>

/* What is kept of each size; more is freed: a burst is not paid for ever. */
#ifndef KEPT_BYTES
#define KEPT_BYTES (4u * 1024u * 1024u)
#endif

/* Small ones first, then large: [large]. */
static SLIST_HEADER kept[2];
static DWORD sizes[2];

void buffer_open(DWORD largest)
{
    InitializeSListHead(&kept[FALSE]);
    InitializeSListHead(&kept[TRUE]);
    sizes[FALSE] = BUF_SIZE;
    sizes[TRUE] = largest;
}

void buffer_close(void)
{
    int large;

    for (large = FALSE; large <= TRUE; ++large) {
        SLIST_ENTRY *buffer;

        while ((buffer = InterlockedPopEntrySList(&kept[large])) != NULL)
            free(buffer);
    }
}

DWORD buffer_size(BOOL large) { return sizes[large]; }

char *buffer_take(BOOL large)
{
    SLIST_ENTRY *buffer = InterlockedPopEntrySList(&kept[large]);

    return buffer != NULL ? (char *)buffer : malloc(sizes[large]);
}

void buffer_give(char *buffer, BOOL large)
{
    if (buffer == NULL)
        return;
    if ((QueryDepthSList(&kept[large]) + 1u) * sizes[large] > KEPT_BYTES)
        free(buffer);
    else
        /* malloc aligns for every type, SLIST_ENTRY among them. */
        InterlockedPushEntrySList(&kept[large],
                                  (SLIST_ENTRY *)(void *)buffer);
}
