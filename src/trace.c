/*
 * trace.c - events as lines of JSON, buffered, written whole. See trace.h.
 *
 * A thread makes its lines on its own stack and copies them to the buffer
 * under the lock; whoever finds the buffer full writes it, and a timer does so
 * four times a second. Only whole lines get into the buffer, so every WriteFile
 * writes whole lines: what a killed server leaves lacks the closing bracket
 * and no more.
 *
 * Events of one connection stand in the file in the order in which they
 * happened: its owner puts them in before it gives it up, and the next owner
 * comes after that. Other lines stand in any order. A reader that sorts by
 * time, keeping the order of equals, gets all of it right.
 */
#include "trace.h"
#include "listener.h"
#include "log.h"
#include "version.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_SIZE    65536u
#define FLUSH_INTERVAL 250  /* ms */
#define MAX_LINE       512  /* bytes; a longer one is left out */

#define MAIN_LANE 0u

/* What one call has to say: at most three lines. */
typedef struct {
    char text[3 * MAX_LINE];
    size_t length;
} LINES;

/* One thread's row in the viewer, and the packet it is busy with. Only that
 * thread touches it (or those that share the console's: they only read). */
typedef struct {
    DWORD id;
    char name[24];
    const char *packet;  /* READ, sentinel, ...; NULL: it waits */
    LONGLONG began;
    ULONGLONG conn;
    DWORD bytes, code;
} LANE;

volatile LONG traceOn = FALSE;

/* Written by trace_open, before there are other threads to read them; the
 * process' to its end. */
static LANE *lanes;
static DWORD idleLane, consoleLane;
static DWORD laneSlot;  /* of the threads' local storage: their LANE */
static LONGLONG startTicks, ticksPerSecond;
static HANDLE flushTimer;

/* `lock` protects these. It is taken last of all: no other is taken under it,
 * and so the registry may trace while it holds its own. */
static SRWLOCK lock = SRWLOCK_INIT;
static HANDLE file = INVALID_HANDLE_VALUE;
static char buffer[BUFFER_SIZE];
static size_t buffered;
static LONG busyWorkers, liveConnections;

LONGLONG trace_clock(void)
{
    LARGE_INTEGER ticks;

    QueryPerformanceCounter(&ticks);  /* can't fail since Windows XP */
    return ticks.QuadPart;
}

/* In two parts: ticks times a billion are too many after half an hour. */
static ULONGLONG nanoseconds(LONGLONG ticks)
{
    return (ULONGLONG)(ticks / ticksPerSecond * 1000000000
                       + ticks % ticksPerSecond * 1000000000 / ticksPerSecond);
}

/* -------------------------------- the file ------------------------------- */

/* The caller holds the lock, here and in the next three. */
static void close_file(void)
{
    if (!CloseHandle(file))
        log_failure("CloseHandle (trace)", (int)GetLastError(), NULL);
    file = INVALID_HANDLE_VALUE;
}

static void give_up(const char *call, DWORD code)
{
    traceOn = FALSE;
    log_failure(call, (int)code, "the trace ends here, the server goes on");
    close_file();
}

static void flush(void)
{
    DWORD written;

    if (file == INVALID_HANDLE_VALUE || buffered == 0)
        return;
    if (!WriteFile(file, buffer, (DWORD)buffered, &written, NULL))
        give_up("WriteFile (trace)", GetLastError());
    else if (written < buffered)
        give_up("WriteFile (trace)", ERROR_DISK_FULL);
    buffered = 0;
}

static void put(const LINES *lines)
{
    if (file == INVALID_HANDLE_VALUE)
        return;  /* closed after this thread has looked at traceOn */
    if (buffered + lines->length > sizeof buffer)
        flush();
    memcpy(buffer + buffered, lines->text, lines->length);
    buffered += lines->length;
}

static void put_locked(const LINES *lines)
{
    AcquireSRWLockExclusive(&lock);
    put(lines);
    ReleaseSRWLockExclusive(&lock);
}

static void flush_locked(void)
{
    AcquireSRWLockExclusive(&lock);
    flush();
    ReleaseSRWLockExclusive(&lock);
}

static VOID CALLBACK on_timer(PVOID unused, BOOLEAN timedOut)
{
    (void)unused, (void)timedOut;
    flush_locked();
}

/* Every line ends with a comma, as nobody knows which is the last. Now it is
 * known: the comma is overwritten. The caller holds the lock. */
static void finish(void)
{
    static const char end[] = "\n]\n";
    LARGE_INTEGER back;

    flush();
    if (file == INVALID_HANDLE_VALUE)
        return;
    back.QuadPart = -2;
    if (!SetFilePointerEx(file, back, NULL, FILE_CURRENT)) {
        give_up("SetFilePointerEx (trace)", GetLastError());
        return;
    }
    buffered = sizeof end - 1;
    memcpy(buffer, end, buffered);
    flush();
    if (file != INVALID_HANDLE_VALUE)
        close_file();
}

/* -------------------------------- its lines ------------------------------ */

/* Adds one event: what all have, and what `format` gives (without braces). One
 * that is too long is left out: half a line would spoil the file. */
static void event(LINES *lines, char phase, DWORD lane, LONGLONG at,
                  const char *format, ...)
{
    char *line = lines->text + lines->length;
    size_t room = sizeof lines->text - lines->length;
    ULONGLONG ns = nanoseconds(at - startTicks);
    char rest[MAX_LINE];
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(rest, sizeof rest, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof rest)
        return;
    length = snprintf(line, room,
                      "{\"ph\":\"%c\",\"pid\":1,\"tid\":%lu,"
                      "\"ts\":%llu.%03u,%s},\n",
                      phase, lane, ns / 1000, (unsigned)(ns % 1000), rest);
    if (length > 0 && (size_t)length < room)
        lines->length += (size_t)length;
}

/* Text as the inside of a JSON string; what does not fit is cut. */
static const char *escape(const char *text, char *out, size_t size)
{
    char *to = out;

    for (; *text != '\0' && (size_t)(to - out) + sizeof "\\u0000" <= size;
         ++text) {
        if (*text == '"' || *text == '\\')
            *to++ = '\\', *to++ = *text;
        else if ((unsigned char)*text < ' ' || (unsigned char)*text > '~')
            to += snprintf(to, sizeof "\\u0000", "\\u%04x",
                           (unsigned)(unsigned char)*text);
        else
            *to++ = *text;
    }
    *to = '\0';
    return out;
}

static LANE *own_lane(void)
{
    /* NULL: a thread that is not ours. The console's handler runs on one of
     * its own each time. */
    LANE *lane = TlsGetValue(laneSlot);

    return lane != NULL ? lane : &lanes[consoleLane];
}

static void set_lane(LANE *lane)
{
    if (!TlsSetValue(laneSlot, lane))
        log_failure("TlsSetValue", (int)GetLastError(), NULL);
}

void trace_thread(DWORD lane) { set_lane(&lanes[lane]); }

/* A counter's value and its time are taken under one lock, which the caller
 * holds: else two threads' could be the wrong way round. */
static void counter(LINES *lines, const char *name, const char *key,
                    LONG value)
{
    event(lines, 'C', MAIN_LANE, trace_clock(),
          "\"name\":\"%s\",\"args\":{\"%s\":%ld}", name, key, value);
}

/* -------------------------------- packets -------------------------------- */

static const char *mode_name(int rwMode)
{
    return rwMode == READ ? "READ" : "WRITE";
}

/* The connection's track: what the kernel has, and what a worker has. */
static void kernel(LINES *lines, char phase, DWORD lane, LONGLONG at,
                   ULONGLONG conn, int rwMode, DWORD bytes, const char *error)
{
    event(lines, phase, lane, at,
          "\"cat\":\"kernel\",\"name\":\"%s\",\"id\":\"%llu\","
          "\"args\":{\"conn\":%llu,\"bytes\":%lu%s}",
          mode_name(rwMode), conn, conn, bytes, error);
}

static void kernel_ends(LINES *lines, DWORD lane, LONGLONG at, ULONGLONG conn,
                        int rwMode, DWORD bytes, DWORD code)
{
    char error[32];

    snprintf(error, sizeof error, ",\"error\":%lu", code);
    kernel(lines, 'e', lane, at, conn, rwMode, bytes, error);
}

static void owner(LINES *lines, char phase, const LANE *lane, LONGLONG at,
                  ULONGLONG conn)
{
    event(lines, phase, lane->id, at,
          "\"cat\":\"worker\",\"name\":\"%s\",\"id\":\"%llu\","
          "\"args\":{\"conn\":%llu}",
          lane->name, conn, conn);
}

/* The last of the lines: the count of workers that have a packet. */
static void busy_changes(LINES *lines, LONG change)
{
    AcquireSRWLockExclusive(&lock);
    busyWorkers += change;
    counter(lines, "busy workers", "busy", busyWorkers);
    put(lines);
    ReleaseSRWLockExclusive(&lock);
}

void trace_packet(ULONGLONG conn, int rwMode, DWORD bytes, DWORD code)
{
    static const char *const names[] = {"READ", "WRITE", "failed READ",
                                        "failed WRITE"};
    LANE *lane = own_lane();
    LINES lines;

    lines.length = 0;
    lane->began = trace_clock();
    lane->packet = names[(rwMode == READ ? 0 : 1) + (code == 0 ? 0 : 2)];
    lane->conn = conn;
    lane->bytes = bytes;
    lane->code = code;
    kernel_ends(&lines, lane->id, lane->began, conn, rwMode, bytes, code);
    owner(&lines, 'b', lane, lane->began, conn);
    busy_changes(&lines, +1);
}

void trace_posted(BOOL sentinel, DWORD bytes)
{
    LANE *lane = own_lane();
    LINES lines;

    lines.length = 0;
    lane->began = trace_clock();
    lane->packet = sentinel ? "sentinel" : "posted";
    lane->conn = 0;
    lane->bytes = bytes;
    lane->code = 0;
    busy_changes(&lines, +1);
}

/* A slice: from `began` to now. */
static void slice(LINES *lines, const LANE *lane, LONGLONG began,
                  const char *category, const char *name, const char *args)
{
    ULONGLONG ns = nanoseconds(trace_clock() - began);

    event(lines, 'X', lane->id, began,
          "\"dur\":%llu.%03u,\"cat\":\"%s\","
          "\"name\":\"%s\",\"args\":{%s}",
          ns / 1000, (unsigned)(ns % 1000), category, name, args);
}

void trace_waiting(void)
{
    LANE *lane = own_lane();
    LINES lines;
    char args[96];

    if (lane->packet == NULL)
        return;  /* its first wait, or one that failed */
    lines.length = 0;
    snprintf(args, sizeof args, "\"conn\":%llu,\"bytes\":%lu,\"error\":%lu",
             lane->conn, lane->bytes, lane->code);
    slice(&lines, lane, lane->began, "packet", lane->packet, args);
    lane->packet = NULL;
    busy_changes(&lines, -1);
}

void trace_work(LONGLONG began, ULONGLONG conn, BOOL spins)
{
    LINES lines;
    char args[32];

    lines.length = 0;
    snprintf(args, sizeof args, "\"conn\":%llu", conn);
    slice(&lines, own_lane(), began, "work",
          spins ? "work spin" : "work sleep", args);
    put_locked(&lines);
}

/* ------------------------------ connections ------------------------------ */

void trace_post(ULONGLONG conn, int rwMode, DWORD bytes)
{
    const LANE *lane = own_lane();
    LONGLONG now = trace_clock();
    LINES lines;

    lines.length = 0;
    owner(&lines, 'e', lane, now, conn);
    kernel(&lines, 'b', lane->id, now, conn, rwMode, bytes, "");
    put_locked(&lines);
}

void trace_post_failed(ULONGLONG conn, int rwMode, int code)
{
    const LANE *lane = own_lane();
    LONGLONG now = trace_clock();
    LINES lines;

    lines.length = 0;
    kernel_ends(&lines, lane->id, now, conn, rwMode, 0, (DWORD)code);
    owner(&lines, 'b', lane, now, conn);  /* until it closes it */
    put_locked(&lines);
}

static void moment(LINES *lines, DWORD lane, LONGLONG at, const char *name,
                   const char *args)
{
    event(lines, 'i', lane, at,
          "\"s\":\"t\",\"cat\":\"life\","
          "\"name\":\"%s\",\"args\":{%s}",
          name, args);
}

void trace_accepted(const PER_HANDLE_DATA *handleInfo)
{
    const LANE *lane = own_lane();
    LONGLONG now;
    LINES lines;
    char peer[ADDRESS_TEXT], escaped[2 * ADDRESS_TEXT], args[256];
    u_short port = address_text(&handleInfo->clntAdr, peer);

    lines.length = 0;
    AcquireSRWLockExclusive(&lock);
    now = trace_clock();
    snprintf(args, sizeof args,
             "\"conn\":%llu,\"peer\":\"%s:%u\",\"live\":%ld", handleInfo->id,
             escape(peer, escaped, sizeof escaped), port, ++liveConnections);
    moment(&lines, lane->id, now, "accept", args);
    owner(&lines, 'b', lane, now, handleInfo->id);
    counter(&lines, "connections", "live", liveConnections);
    put(&lines);
    ReleaseSRWLockExclusive(&lock);
}

void trace_closing(const PER_HANDLE_DATA *handleInfo, const char *reason)
{
    const LANE *lane = own_lane();
    LONGLONG now;
    LINES lines;
    char args[256];

    lines.length = 0;
    AcquireSRWLockExclusive(&lock);
    now = trace_clock();
    snprintf(args, sizeof args,
             "\"conn\":%llu,\"reason\":\"%s\","
             "\"received\":%llu,\"sent\":%llu,\"live\":%ld",
             handleInfo->id, reason, handleInfo->received, handleInfo->sent,
             --liveConnections);
    owner(&lines, 'e', lane, now, handleInfo->id);
    moment(&lines, lane->id, now, "close", args);
    counter(&lines, "connections", "live", liveConnections);
    put(&lines);
    ReleaseSRWLockExclusive(&lock);
}

/* --------------------------------- moments ------------------------------- */

static void put_moment(LONGLONG at, const char *name, const char *args)
{
    LINES lines;

    lines.length = 0;
    moment(&lines, own_lane()->id, at, name, args);
    put_locked(&lines);
}

void trace_moment(const char *name) { put_moment(trace_clock(), name, ""); }

void trace_stop(const char *reason)
{
    char escaped[64], args[96];

    snprintf(args, sizeof args, "\"reason\":\"%s\"",
             escape(reason, escaped, sizeof escaped));
    put_moment(trace_clock(), "stop", args);
}

void trace_cancel(LONGLONG began, ULONGLONG conn, BOOL everything,
                  const char *why)
{
    char args[96];

    snprintf(args, sizeof args, "\"conn\":%llu,\"what\":\"%s\",\"why\":\"%s\"",
             conn, everything ? "everything" : "READ", why);
    put_moment(began, "cancel", args);
}

void trace_sentinel(LONGLONG began, DWORD worker)
{
    char args[32];

    snprintf(args, sizeof args, "\"worker\":%lu", worker);
    put_moment(began, "sentinel posted", args);
}

/* --------------------------- opening and closing ------------------------- */

/* Wine says in ntdll.dll that it is Wine, and on what. TRUE if it is. Windows'
 * own number is there too: GetVersionEx gives that of Windows 8 at most. */
static BOOL describe_system(char *text, size_t size)
{
    typedef const char *(*WINE_VERSION)(void);
    typedef void (*WINE_HOST)(const char **name, const char **release);
    typedef LONG WINAPI RTL_VERSION(LPOSVERSIONINFOW version);
    typedef void (*FUNCTION)(void);  /* what any of them may be cast from */
    HMODULE ntdll = GetModuleHandleW(L"ntdll.dll");
    WINE_VERSION wineVersion = NULL;
    WINE_HOST wineHost = NULL;
    RTL_VERSION *rtlVersion = NULL;
    OSVERSIONINFOW version;

    if (ntdll != NULL) {
        wineVersion = (WINE_VERSION)(FUNCTION)GetProcAddress(
            ntdll, "wine_get_version");
        wineHost = (WINE_HOST)(FUNCTION)GetProcAddress(
            ntdll, "wine_get_host_version");
        rtlVersion = (RTL_VERSION *)(FUNCTION)GetProcAddress(ntdll,
                                                             "RtlGetVersion");
    }
    if (wineVersion != NULL) {
        const char *name = "unknown", *release = "";

        if (wineHost != NULL)
            wineHost(&name, &release);
        snprintf(text, size, "Wine %s on %s %s", wineVersion(), name, release);
        return TRUE;
    }
    ZeroMemory(&version, sizeof version);
    version.dwOSVersionInfoSize = sizeof version;
    if (rtlVersion != NULL && rtlVersion(&version) == 0)
        snprintf(text, size, "Windows %lu.%lu.%lu", version.dwMajorVersion,
                 version.dwMinorVersion, version.dwBuildNumber);
    else
        snprintf(text, size, "Windows");
    return FALSE;
}

static void put_metadata(DWORD lane, const char *name, const char *format, ...)
{
    char args[MAX_LINE];
    va_list list;
    LINES lines;
    int length;

    va_start(list, format);
    length = vsnprintf(args, sizeof args, format, list);
    va_end(list);
    if (length < 0 || (size_t)length >= sizeof args)
        return;
    lines.length = 0;
    event(&lines, 'M', lane, startTicks, "\"name\":\"%s\",\"args\":{%s}", name,
          args);
    put_locked(&lines);
}

static void put_lane(const LANE *lane)
{
    put_metadata(lane->id, "thread_name", "\"name\":\"%s\"", lane->name);
    put_metadata(lane->id, "thread_sort_index", "\"sort_index\":%lu",
                 lane->id);
}

static void put_info(const OPTIONS *options, DWORD workers, DWORD cpus)
{
    char system[96], escaped[192], work[32] = "";
    BOOL wine = describe_system(system, sizeof system);
    SYSTEMTIME now;

    GetSystemTime(&now);
    if (options->workTime != 0)
        snprintf(work, sizeof work, "%lu:%s", options->workTime,
                 options->workSpins ? "spin" : "sleep");
    put_metadata(MAIN_LANE, "trace_info",
                 "\"system\":\"%s\",\"wine\":%s,"
                 "\"version\":\"%s\",\"workers\":%lu,\"concurrency\":%lu,"
                 "\"cpus\":%lu,\"work\":\"%s\",\"max_connections\":%lu,"
                 "\"started\":\"%04u-%02u-%02uT%02u:%02u:%02uZ\"",
                 escape(system, escaped, sizeof escaped),
                 wine ? "true" : "false", PROGRAM_VERSION, workers,
                 options->concurrency != 0 ? options->concurrency : cpus, cpus,
                 work, options->maxConnections, now.wYear, now.wMonth,
                 now.wDay, now.wHour, now.wMinute, now.wSecond);
}

/* The lanes, and main's. */
static BOOL make_lanes(DWORD workers)
{
    DWORD i;

    idleLane = workers + 1;
    consoleLane = workers + 2;
    lanes = calloc((size_t)consoleLane + 1, sizeof *lanes);
    if (lanes == NULL) {
        log_error("no memory for the trace; the server goes on without");
        return FALSE;
    }
    for (i = 0; i <= consoleLane; ++i) {
        lanes[i].id = i;
        snprintf(lanes[i].name, sizeof lanes[i].name, "worker %lu", i);
    }
    snprintf(lanes[MAIN_LANE].name, sizeof lanes->name, "main");
    snprintf(lanes[idleLane].name, sizeof lanes->name, "idle sweep");
    snprintf(lanes[consoleLane].name, sizeof lanes->name, "console control");
    laneSlot = TlsAlloc();
    if (laneSlot == TLS_OUT_OF_INDEXES) {
        log_failure("TlsAlloc", (int)GetLastError(), "no trace is written");
        return FALSE;
    }
    set_lane(&lanes[MAIN_LANE]);
    return TRUE;
}

static BOOL open_file(const char *name)
{
    HANDLE opened = CreateFileA(name, GENERIC_WRITE, FILE_SHARE_READ, NULL,
                                CREATE_ALWAYS, FILE_ATTRIBUTE_NORMAL, NULL);

    if (opened == INVALID_HANDLE_VALUE) {
        log_failure("CreateFile (trace)", (int)GetLastError(),
                    "no trace is written, the server goes on");
        return FALSE;
    }
    AcquireSRWLockExclusive(&lock);
    file = opened;
    buffer[buffered++] = '[';
    buffer[buffered++] = '\n';
    ReleaseSRWLockExclusive(&lock);
    return TRUE;
}

void trace_open(const OPTIONS *options, DWORD cpus)
{
    DWORD i, workers = options->workers != 0 ? options->workers : cpus;
    LARGE_INTEGER frequency;

    if (options->traceFile == NULL || !make_lanes(workers)
        || !open_file(options->traceFile))
        return;
    QueryPerformanceFrequency(&frequency);  /* can't fail since Windows XP */
    ticksPerSecond = frequency.QuadPart;
    startTicks = trace_clock();
    put_metadata(MAIN_LANE, "process_name", "\"name\":\"%s %s\"", PROGRAM_NAME,
                 PROGRAM_VERSION);
    for (i = 0; i <= consoleLane; ++i)
        if (i != idleLane || options->idleTimeout != 0)
            put_lane(&lanes[i]);
    put_info(options, workers, cpus);
    traceOn = TRUE;
    flush_locked();  /* a file that can't be written shows at once */
    if (!CreateTimerQueueTimer(&flushTimer, NULL, on_timer, NULL,
                               FLUSH_INTERVAL, FLUSH_INTERVAL,
                               WT_EXECUTEDEFAULT)) {
        log_failure("CreateTimerQueueTimer", (int)GetLastError(),
                    "the trace is written later than it should");
        flushTimer = NULL;
    }
}

void trace_close(void)
{
    /* Waits for the timer's last call, so not under the lock that it takes. */
    if (flushTimer != NULL
        && !DeleteTimerQueueTimer(NULL, flushTimer, INVALID_HANDLE_VALUE))
        log_failure("DeleteTimerQueueTimer", (int)GetLastError(), NULL);
    /* Left are main and the console's threads. What those still have to tell
     * finds the file closed: see put. */
    AcquireSRWLockExclusive(&lock);
    traceOn = FALSE;
    finish();
    ReleaseSRWLockExclusive(&lock);
}
