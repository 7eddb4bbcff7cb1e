/*
 * guard.c - memory and handles whose misuse is noticed. See checked.h.
 *
 *     | header page | the block's pages, the block at their end | no access |
 *
 * Free gives the pages back to the system but keeps their addresses: whoever
 * touches them afterwards, or the page behind, ends the process with an access
 * violation, and the same block is never handed out again. What lies around
 * the block in its own pages (malloc's alignment may leave up to 15 bytes
 * behind it) holds a pattern, which is looked at when the block is freed.
 */
#define CHECKED_REAL
#include "checked.h"

#include <stdio.h>
#include <string.h>

#define PAGE    ((size_t)4096)
#define ALIGN   ((size_t)16)
#define MAGIC   0x6472617567u
#define PATTERN 0xFD

typedef struct {
    ULONGLONG magic;
    size_t size;   /* of the block */
    size_t room;   /* of its pages */
} HEADER;

/* Handles are small numbers and multiples of four, on every Windows so far;
 * larger ones are counted, and otherwise left alone. */
#define HANDLES 65536

static volatile LONG allocated, released, opened, closed;
static volatile LONG isOpen[HANDLES];

static BOOL on(void) { return GetEnvironmentVariableA("GUARD", NULL, 0) != 0; }

/* The end of a broken server: nothing after this could be trusted. */
static void broken(const char *what)
{
    fprintf(stderr, "guard: %s\n", what);
    fflush(stderr);
    TerminateProcess(GetCurrentProcess(), 98);
}

static BYTE *pages_of(HEADER *header) { return (BYTE *)header + PAGE; }

static BYTE *block_of(HEADER *header)
{
    return pages_of(header) + (header->room - header->size) / ALIGN * ALIGN;
}

void *guard_allocate(size_t size)
{
    size_t room = (size + PAGE - 1) / PAGE * PAGE;
    HEADER *header;

    if (!on())
        return calloc(1, size);
    /* From the top: addresses that do not fit 32 bits, where they can. */
    header = VirtualAlloc(NULL, PAGE + room + PAGE, MEM_RESERVE | MEM_TOP_DOWN,
                          PAGE_NOACCESS);
    if (header != NULL)
        header = VirtualAlloc(header, PAGE + room, MEM_COMMIT, PAGE_READWRITE);
    if (header == NULL)
        return NULL;
    header->magic = MAGIC;
    header->size = size;
    header->room = room;
    memset(pages_of(header), PATTERN, room);
    memset(block_of(header), 0, size);
    InterlockedIncrement(&allocated);
    return block_of(header);
}

/* The header of a block that is allocated. */
static HEADER *header_of(void *block)
{
    MEMORY_BASIC_INFORMATION info;
    HEADER *header;

    if (VirtualQuery(block, &info, sizeof info) == 0
        || info.State != MEM_COMMIT)
        broken("free of memory that is not allocated, or no longer");
    header = info.AllocationBase;
    if (header->magic != MAGIC || block_of(header) != block)
        broken("free of what is not a block");
    return header;
}

void guard_free(void *block)
{
    HEADER *header;
    BYTE *byte;

    if (!on() || block == NULL) {
        free(block);
        return;
    }
    header = header_of(block);
    for (byte = pages_of(header); byte < pages_of(header) + header->room;
         ++byte)
        if ((byte < (BYTE *)block || byte >= (BYTE *)block + header->size)
            && *byte != PATTERN)
            broken("bytes beside a block were written to");
    if (!VirtualFree(header, PAGE + header->room, MEM_DECOMMIT))
        broken("VirtualFree failed");
    InterlockedIncrement(&released);
}

void *guard_mapped(void *pages)
{
    if (pages != NULL)
        InterlockedIncrement(&allocated);
    return pages;
}

void guard_unmapped(void) { InterlockedIncrement(&released); }

/* -------------------------------- handles -------------------------------- */

/* Where it is noted that this handle is open; NULL: nowhere. */
static volatile LONG *note_of(HANDLE handle)
{
    ULONG_PTR number = (ULONG_PTR)handle / 4;

    return (ULONG_PTR)handle % 4 == 0 && number < HANDLES ? &isOpen[number]
                                                          : NULL;
}

HANDLE guard_opened(HANDLE handle)
{
    volatile LONG *note = note_of(handle);

    if (handle == NULL || handle == INVALID_HANDLE_VALUE)
        return handle;
    InterlockedIncrement(&opened);
    if (note != NULL)
        InterlockedExchange(note, TRUE);
    return handle;
}

HANDLE guard_closing(HANDLE handle)
{
    volatile LONG *note = note_of(handle);

    InterlockedIncrement(&closed);
    if (note != NULL && !InterlockedExchange(note, FALSE) && on())
        broken("a handle is closed that is not open");
    return handle;
}

/* -------------------------------- reports -------------------------------- */

void append_line(const char *variable, const char *line, size_t length)
{
    char name[MAX_PATH];
    DWORD size = GetEnvironmentVariableA(variable, name, sizeof name);
    DWORD written;
    HANDLE file;

    if (size == 0 || size >= sizeof name)
        return;
    file = CreateFileA(name, FILE_APPEND_DATA,
                       FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_ALWAYS,
                       FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE
        || !WriteFile(file, line, (DWORD)length, &written, NULL))
        broken("a report can't be written");
    CloseHandle(file);
}

void guard_report(void)
{
    char line[128];
    int length = snprintf(line, sizeof line,
                          "allocated=%ld freed=%ld opened=%ld closed=%ld\n",
                          allocated, released, opened, closed);

    append_line("GUARD", line, (size_t)length);
}
