/*
 * trace.c - the events, one a line. See trace.h.
 *
 * A thread's events stand in the file in the order in which they happened, and
 * so do a connection's: its owner writes them before it gives the connection
 * up, and the next owner comes after that. Others stand in any order. A stable
 * sort by time puts all of them right.
 */
#include "trace.h"
#include "log.h"
#include "trace_file.h"
#include "version.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_LINE   512   /* bytes; a longer one is left out */
#define LAST_PLACE 9999u /* of a thread in the viewer: after all workers */

#define FLUSH_INTERVAL 250 /* ms */

volatile LONG traceOn = FALSE;

/* Written before there are other threads: */
static const char *fileName;
static LONGLONG startTime;
static HANDLE timer;

/* Returns ns. Computes them in two parts: ticks times a billion are too many
 * after half an hour. The two calls can't fail since Windows XP. */
LONGLONG trace_clock(void)
{
    LARGE_INTEGER now, second;

    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&second);
    return now.QuadPart / second.QuadPart * 1000000000
           + now.QuadPart % second.QuadPart * 1000000000 / second.QuadPart;
}

/* --------------------------------- events -------------------------------- */

static void report(const char *call, DWORD code, const char *advice)
{
    log_failure((int)code, advice, "%s '%s' (trace)", call, fileName);
}

/* Adds to the file; the trace ends where that fails. */
static void add(const char *piece, size_t length, BOOL now)
{
    DWORD code = trace_file_put(piece, length, now);

    if (code == NO_ERROR)
        return;
    traceOn = FALSE;
    report("WriteFile", code, "the trace ends here, the server goes on");
}

/* Writes an event: what every one has, and what `format` adds. That is JSON
 * with ' for ", which is easier to read in C. A line that is too long is left
 * out: half of it would spoil the file. */
static void put(char phase, LONGLONG at, const char *format, ...)
{
    ULONGLONG ns = (ULONGLONG)(at - startTime);
    char quoted[MAX_LINE], line[MAX_LINE];
    int start, length;
    va_list args;
    size_t i;

    for (i = 0; (quoted[i] = format[i]) != '\0'; ++i)
        if (quoted[i] == '\'')
            quoted[i] = '"';
    start = snprintf(line, sizeof line,
                     ",\n{\"ph\":\"%c\",\"pid\":1,\"tid\":%lu,"
                     "\"ts\":%llu.%03u,",
                     phase, GetCurrentThreadId(), ns / 1000,
                     (unsigned)(ns % 1000));
    va_start(args, format);
    length = vsnprintf(line + start, sizeof line - (size_t)start, quoted,
                       args);
    va_end(args);
    length += start;
    if (length < start || (size_t)length + 1 >= sizeof line)
        return;
    line[length++] = '}';
    add(line, (size_t)length, FALSE);
}

/* The beginning of an event that takes no time. */
#define LIFE(name) "'s':'t','cat':'life','name':'" name "','args':{"

/* ------------------------ packets and operations ------------------------- */

/* Begins or ends the kernel's span of an operation. The two come from different
 * threads, so an id ties them together: the connection's. */
static void put_span(char phase, LONGLONG at, ULONGLONG conn, const char *mode,
                     DWORD bytes, DWORD code)
{
    put(phase, at,
        "'cat':'kernel','name':'%s','id':'%llu',"
        "'args':{'conn':%llu,'bytes':%lu,'error':%lu}",
        mode, conn, conn, bytes, code);
}

void trace_post(ULONGLONG conn, const char *mode, DWORD bytes)
{
    put_span('b', trace_clock(), conn, mode, bytes, 0);
}

void trace_post_failed(ULONGLONG conn, const char *mode, DWORD code)
{
    put_span('e', trace_clock(), conn, mode, 0, code);
}

void trace_packet(ULONGLONG conn, const char *mode, DWORD bytes, DWORD code)
{
    LONGLONG now = trace_clock();

    put_span('e', now, conn, mode, bytes, code);
    put('B', now,
        "'cat':'packet','name':'%s%s',"
        "'args':{'conn':%llu,'bytes':%lu,'error':%lu}",
        code != 0 ? "failed " : "", mode, conn, bytes, code);
}

void trace_posted(BOOL sentinel, DWORD bytes)
{
    put('B', trace_clock(), "'cat':'packet','name':'%s','args':{'bytes':%lu}",
        sentinel ? "sentinel" : "posted", bytes);
}

void trace_work(BOOL begins, BOOL spins)
{
    put(begins ? 'B' : 'E', trace_clock(), "'cat':'work','name':'work %s'",
        spins ? "spin" : "sleep");
}

void trace_waiting(void) { put('E', trace_clock(), "'cat':'packet'"); }

/* --------------------------- life and its end ---------------------------- */

void trace_accepted(ULONGLONG conn, const SOCKADDR_INET *peer)
{
    char text[ADDRESS_TEXT];

    put('i', trace_clock(), LIFE("accept") "'conn':%llu,'peer':'%s'}", conn,
        log_address(peer, text));
}

void trace_closing(ULONGLONG conn, const char *reason, ULONGLONG received,
                   ULONGLONG sent)
{
    put('i', trace_clock(),
        LIFE("close") "'conn':%llu,'reason':'%s','received':%llu,'sent':%llu}",
        conn, reason, received, sent);
}

void trace_stop(const char *reason)
{
    put('i', trace_clock(), LIFE("stop") "'reason':'%s'}", reason);
}

void trace_cancel(LONGLONG began, ULONGLONG conn, BOOL everything,
                  const char *why)
{
    put('i', began, LIFE("cancel") "'conn':%llu,'what':'%s','why':'%s'}", conn,
        everything ? "everything" : "READ", why);
}

void trace_moment(const char *name)
{
    put('i', trace_clock(), LIFE("%s") "}", name);
}

/* --------------------------- beginning and end --------------------------- */

void trace_thread(const char *name, DWORD number)
{
    BOOL last = number == 0 && strcmp(name, "main") != 0;

    put('M', startTime,
        number != 0 ? "'name':'thread_name','args':{'name':'%s %lu'}"
                    : "'name':'thread_name','args':{'name':'%s'}",
        name, number);
    put('M', startTime, "'name':'thread_sort_index','args':{'sort_index':%lu}",
        last ? LAST_PLACE : number);
}

/* Returns Wine's version, which its ntdll.dll tells, or "" on Windows. */
static const char *wine_version(void)
{
    typedef void (*FUNCTION)(void);  /* what any other may be cast from */
    typedef const char *(*WINE_VERSION)(void);
    HMODULE ntdll = GetModuleHandleW(L"ntdll.dll");  /* every process has it */
    WINE_VERSION version = (WINE_VERSION)(FUNCTION)GetProcAddress(
        ntdll, "wine_get_version");

    return version != NULL ? version() : "";
}

static void put_info(DWORD workers, DWORD concurrency, DWORD cpus, DWORD work,
                     BOOL spins)
{
    const char *wine = wine_version();
    SYSTEMTIME now;

    GetSystemTime(&now);
    put('M', startTime,
        "'name':'trace_info','args':{'system':'%s%s','workers':%lu,"
        "'concurrency':%lu,'cpus':%lu,'work':%lu,'spins':%s,"
        "'started':'%04u-%02u-%02uT%02u:%02u:%02uZ'}",
        *wine != '\0' ? "Wine " : "Windows", wine, workers, concurrency, cpus,
        work, spins ? "true" : "false", now.wYear, now.wMonth, now.wDay,
        now.wHour, now.wMinute, now.wSecond);
}

static VOID CALLBACK on_timer(PVOID unused, BOOLEAN timedOut)
{
    (void)unused, (void)timedOut;
    add("", 0, TRUE);
}

/* Returns NULL after one line that says why not. */
static HANDLE open_file(void)
{
    HANDLE handle = CreateFileA(fileName, GENERIC_WRITE, FILE_SHARE_READ, NULL,
                                CREATE_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);
    DWORD code = GetLastError();

    if (handle != INVALID_HANDLE_VALUE) {
        if (GetFileType(handle) == FILE_TYPE_DISK)
            return handle;
        log_unless(CloseHandle(handle), "CloseHandle (trace)");
        code = ERROR_INVALID_NAME;  /* of a file on a disk */
    }
    report("CreateFile", code, "no trace is written, the server goes on");
    return NULL;
}

void trace_open(const char *name, DWORD workers, DWORD concurrency, DWORD cpus,
                DWORD work, BOOL spins)
{
    static const char beginning[] =
        "[\n{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\","
        "\"args\":{\"name\":\"" PROGRAM_NAME " " PROGRAM_VERSION "\"}}";
    HANDLE handle;

    fileName = name;
    handle = name != NULL ? open_file() : NULL;
    if (handle == NULL)
        return;
    trace_file_open(handle);
    traceOn = TRUE;
    startTime = trace_clock();
    add(beginning, strlen(beginning), TRUE);
    TRACE(put_info(workers, concurrency, cpus, work, spins));
    TRACE(trace_thread("main", 0));
    if (traceOn
        && !CreateTimerQueueTimer(&timer, NULL, on_timer, NULL, FLUSH_INTERVAL,
                                  FLUSH_INTERVAL, WT_EXECUTEDEFAULT)) {
        report("CreateTimerQueueTimer", GetLastError(),
               "it is written later than it should");
        timer = NULL;
    }
}

void trace_close(void)
{
    static const char end[] = "\n]\n";
    DWORD code;

    traceOn = FALSE;
    if (timer != NULL
        && !DeleteTimerQueueTimer(NULL, timer, INVALID_HANDLE_VALUE))
        report("DeleteTimerQueueTimer", GetLastError(), NULL);
    add(end, strlen(end), TRUE);
    code = trace_file_close();
    if (code != NO_ERROR)
        report("CloseHandle", code, NULL);
}
