/* trace_file.c - buffered, written whole. See trace_file.h. */
#include "trace_file.h"
#include "log.h"

#include <stdio.h>
#include <string.h>

#define BUFFER_SIZE    65536u
#define FLUSH_INTERVAL 250  /* ms */

/* The lock protects what follows it. Under it no other is taken, and nothing
 * is printed. */
static struct {
    HANDLE timer;      /* main's */
    const char *name;  /* set before there are other threads */
    SRWLOCK lock;
    HANDLE handle;     /* NULL: closed */
    size_t used;
    char buffer[BUFFER_SIZE];
} file = {NULL, NULL, SRWLOCK_INIT, NULL, 0, {'\0'}};

static void report(const char *call, DWORD code, const char *advice)
{
    char text[512];

    snprintf(text, sizeof text, "%s '%s' (trace)", call, file.name);
    log_failure(text, (int)code, advice);
}

/* Writes what is buffered. Returns why that failed; the file is closed then.
 * The caller holds the lock. */
static DWORD flush(void)
{
    DWORD written, code = NO_ERROR;

    if (file.handle == NULL || file.used == 0)
        return NO_ERROR;
    if (!WriteFile(file.handle, file.buffer, (DWORD)file.used, &written, NULL))
        code = GetLastError();
    else if (written < file.used)
        code = ERROR_DISK_FULL;
    file.used = 0;
    if (code != NO_ERROR) {
        CloseHandle(file.handle);
        file.handle = NULL;
    }
    return code;
}

/* Adds a piece. Writes what is buffered where there is no room for the piece,
 * and if `now`. Returns FALSE if the file is closed. */
static BOOL add(const char *piece, size_t length, BOOL now)
{
    DWORD code = NO_ERROR;
    BOOL open;

    AcquireSRWLockExclusive(&file.lock);
    if (file.used + length > sizeof file.buffer)
        code = flush();
    if (file.handle != NULL) {
        memcpy(file.buffer + file.used, piece, length);
        file.used += length;
        code = now ? flush() : NO_ERROR;
    }
    open = file.handle != NULL;
    ReleaseSRWLockExclusive(&file.lock);
    if (code != NO_ERROR)
        report("WriteFile", code, "the trace ends here, the server goes on");
    return open;
}

BOOL trace_file_put(const char *piece, size_t length)
{
    return add(piece, length, FALSE);
}

static VOID CALLBACK on_timer(PVOID unused, BOOLEAN timedOut)
{
    (void)unused, (void)timedOut;
    add("", 0, TRUE);
}

BOOL trace_file_open(const char *name, const char *beginning)
{
    HANDLE handle = CreateFileA(name, GENERIC_WRITE, FILE_SHARE_READ, NULL,
                                CREATE_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);

    file.name = name;
    if (handle == INVALID_HANDLE_VALUE) {
        report("CreateFile", GetLastError(),
               "no trace is written, the server goes on");
        return FALSE;
    }
    if (GetFileType(handle) != FILE_TYPE_DISK) {
        log_error("--trace: '%s' is not a file on a disk; no trace is "
                  "written, the server goes on",
                  name);
        CloseHandle(handle);
        return FALSE;
    }
    file.handle = handle;
    if (!add(beginning, strlen(beginning), TRUE))
        return FALSE;
    if (!CreateTimerQueueTimer(&file.timer, NULL, on_timer, NULL,
                               FLUSH_INTERVAL, FLUSH_INTERVAL,
                               WT_EXECUTEDEFAULT)) {
        report("CreateTimerQueueTimer", GetLastError(),
               "it is written later than it should");
        file.timer = NULL;
    }
    return TRUE;
}

void trace_file_close(const char *end)
{
    HANDLE handle;

    /* Waits for the timer's last call, so not under the lock that it takes. */
    if (file.timer != NULL
        && !DeleteTimerQueueTimer(NULL, file.timer, INVALID_HANDLE_VALUE))
        report("DeleteTimerQueueTimer", GetLastError(), NULL);
    add(end, strlen(end), TRUE);
    AcquireSRWLockExclusive(&file.lock);
    handle = file.handle;
    file.handle = NULL;
    ReleaseSRWLockExclusive(&file.lock);
    if (handle != NULL && !CloseHandle(handle))
        report("CloseHandle", GetLastError(), NULL);
}

const char *json_escape(const char *text, char *out, size_t size)
{
    char *to = out;

    for (; *text != '\0' && (size_t)(to - out) + sizeof "\\u0000" <= size;
         ++text)
        if (*text < ' ' || *text > '~' || *text == '"' || *text == '\\')
            to += snprintf(to, sizeof "\\u0000", "\\u%04x",
                           (unsigned)(unsigned char)*text);
        else
            *to++ = *text;
    *to = '\0';
    return out;
}
