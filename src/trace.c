/*
 * trace.c - what is said: one event a line. See trace.h.
 *
 * A thread's events stand in the file in the order in which they happened, and
 * so do a connection's: its owner writes them before it gives the connection
 * up, and the next owner comes after that. Others stand in any order. Whoever
 * sorts them by time, and leaves equals in their order, gets all of it right.
 */
#include "trace.h"
#include "address.h"
#include "trace_file.h"
#include "version.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_LINE   512   /* bytes; a longer one is left out */
#define LAST_PLACE 9999u /* of a thread in the viewer: behind all workers */

volatile LONG traceOn = FALSE;

static LONGLONG startTime;  /* written before there are other threads */

/* In ns. In two parts: ticks times a billion are too many after half an hour.
 * The two calls can't fail since Windows XP. */
LONGLONG trace_clock(void)
{
    LARGE_INTEGER now, second;

    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&second);
    return now.QuadPart / second.QuadPart * 1000000000
           + now.QuadPart % second.QuadPart * 1000000000 / second.QuadPart;
}

/* --------------------------------- events -------------------------------- */

/* Writes an event: what every one has, and what `format` gives. That is JSON
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
    if (!trace_file_put(line, (size_t)length))
        traceOn = FALSE;
}

/* The beginning of an event that takes no time. */
#define LIFE(name) "'s':'t','cat':'life','name':'" name "','args':{"

static const char *mode_name(BOOL write) { return write ? "WRITE" : "READ"; }

/* ------------------------ packets and operations ------------------------- */

/* Begins or ends the kernel's span of an operation. Threads differ, and so the
 * two are tied together by an id: the connection's. */
static void put_span(char phase, LONGLONG at, ULONGLONG conn, BOOL write,
                     DWORD bytes, DWORD code)
{
    put(phase, at,
        "'cat':'kernel','name':'%s','id':'%llu',"
        "'args':{'conn':%llu,'bytes':%lu,'error':%lu}",
        mode_name(write), conn, conn, bytes, code);
}

void trace_post(ULONGLONG conn, BOOL write, DWORD bytes)
{
    put_span('b', trace_clock(), conn, write, bytes, 0);
}

void trace_post_failed(ULONGLONG conn, BOOL write, DWORD code)
{
    put_span('e', trace_clock(), conn, write, 0, code);
}

void trace_packet(ULONGLONG conn, BOOL write, DWORD bytes, DWORD code)
{
    LONGLONG now = trace_clock();

    put_span('e', now, conn, write, bytes, code);
    put('B', now,
        "'cat':'packet','name':'%s%s',"
        "'args':{'conn':%llu,'bytes':%lu,'error':%lu}",
        code != 0 ? "failed " : "", mode_name(write), conn, bytes, code);
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
    u_short port = address_text(peer, text);

    put('i', trace_clock(), LIFE("accept") "'conn':%llu,'peer':'%s:%u'}", conn,
        text, port);
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

/* Wine says in ntdll.dll that it is Wine. Windows' number is there too:
 * GetVersionEx gives that of Windows 8 at most. */
static void describe_system(char *text, size_t size)
{
    typedef void (*FUNCTION)(void);  /* what any other may be cast from */
    typedef const char *(*WINE_VERSION)(void);
    typedef LONG WINAPI RTL_VERSION(LPOSVERSIONINFOW version);
    HMODULE ntdll = GetModuleHandleW(L"ntdll.dll");  /* every process has it */
    WINE_VERSION wineVersion = (WINE_VERSION)(FUNCTION)GetProcAddress(
        ntdll, "wine_get_version");
    RTL_VERSION *rtlVersion = (RTL_VERSION *)(FUNCTION)GetProcAddress(
        ntdll, "RtlGetVersion");
    OSVERSIONINFOW version = {.dwOSVersionInfoSize = sizeof version};

    if (wineVersion != NULL)
        snprintf(text, size, "Wine %s", wineVersion());
    else if (rtlVersion != NULL && rtlVersion(&version) == 0)
        snprintf(text, size, "Windows %lu.%lu.%lu", version.dwMajorVersion,
                 version.dwMinorVersion, version.dwBuildNumber);
    else
        snprintf(text, size, "Windows");
}

/* What a viewer wants to know of the whole. */
static void put_info(const OPTIONS *options, DWORD workers, DWORD concurrency,
                     DWORD cpus)
{
    char system[96], escaped[192];
    SYSTEMTIME now;

    describe_system(system, sizeof system);
    GetSystemTime(&now);
    put('M', startTime,
        "'name':'trace_info','args':{'system':'%s','workers':%lu,"
        "'concurrency':%lu,'cpus':%lu,'work':%lu,'spins':%s,"
        "'started':'%04u-%02u-%02uT%02u:%02u:%02uZ'}",
        json_escape(system, escaped, sizeof escaped), workers, concurrency,
        cpus, options->workTime, options->workSpins ? "true" : "false",
        now.wYear, now.wMonth, now.wDay, now.wHour, now.wMinute, now.wSecond);
}

void trace_open(const OPTIONS *options, DWORD workers, DWORD concurrency,
                DWORD cpus)
{
    if (options->traceFile == NULL
        || !trace_file_open(
            options->traceFile,
            "[\n{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\","
            "\"args\":{\"name\":\"" PROGRAM_NAME " " PROGRAM_VERSION "\"}}"))
        return;
    traceOn = TRUE;
    startTime = trace_clock();
    put_info(options, workers, concurrency, cpus);
    trace_thread("main", 0);
}

void trace_close(void)
{
    traceOn = FALSE;
    trace_file_close("\n]\n");
}
