/* trace_file.c - buffered, written whole. See trace_file.h. */
#include "trace_file.h"

#include <string.h>

#define BUFFER_SIZE 65536u

/* The lock protects what follows it. It is the last that a thread takes, so a
 * thread that holds the registry's may trace. Nothing is printed under it. */
static struct {
    SRWLOCK lock;
    HANDLE handle;  /* NULL: closed */
    size_t used;
    char buffer[BUFFER_SIZE];
} file = {SRWLOCK_INIT, NULL, 0, {'\0'}};

void trace_file_open(HANDLE handle) { file.handle = handle; }

/* Writes what is buffered. Returns why that failed; the file is closed then.
 * The caller holds the lock. */
static DWORD flush(void)
{
    DWORD written, code = NO_ERROR;

    if (file.used == 0)
        return NO_ERROR;
    if (!WriteFile(file.handle, file.buffer, (DWORD)file.used, &written, NULL))
        code = GetLastError();
    else if (written < file.used)
        code = ERROR_DISK_FULL;
    file.used = 0;
    if (code != NO_ERROR) {
        (void)CloseHandle(file.handle);  /* the write's failure is reported */
        file.handle = NULL;
    }
    return code;
}

DWORD trace_file_put(const char *piece, size_t length, BOOL now)
{
    DWORD code = NO_ERROR;

    AcquireSRWLockExclusive(&file.lock);
    if (file.handle != NULL && file.used + length > sizeof file.buffer)
        code = flush();
    if (file.handle != NULL) {
        memcpy(file.buffer + file.used, piece, length);
        file.used += length;
        code = now ? flush() : NO_ERROR;
    }
    ReleaseSRWLockExclusive(&file.lock);
    return code;
}

DWORD trace_file_close(void)
{
    HANDLE handle = file.handle;

    file.handle = NULL;
    return handle == NULL || CloseHandle(handle) ? NO_ERROR : GetLastError();
}
