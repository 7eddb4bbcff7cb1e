/* log.c - whole lines, written at once. See log.h. */
#include "log.h"
#include "console.h"
#include "version.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT 4096  /* bytes; what is longer is cut */
#define REPORTS  16    /* failures that are told apart */

/* How long after a report the same one is left out, in ms. */
#ifndef REPEAT_INTERVAL
#define REPEAT_INTERVAL 60000u
#endif

static LOG_LEVEL logLevel = LOG_NORMAL;

/* The codes that users are likely to meet. Windows has a text for each, but in
 * the user's language: it may not be ASCII, and a search does not find it. */
static const struct {
    int code;
    const char *name;
    const char *meaning;
} knownCodes[] = {
#define KNOWN(code, meaning) \
    {                        \
        code, #code, meaning \
    }
    KNOWN(ERROR_FILE_NOT_FOUND, "no such file"),
    KNOWN(ERROR_PATH_NOT_FOUND, "no such directory"),
    KNOWN(ERROR_ACCESS_DENIED, "access is denied"),
    KNOWN(ERROR_SHARING_VIOLATION, "another program has the file open"),
    KNOWN(ERROR_DISK_FULL, "the disk is full"),
    KNOWN(ERROR_INVALID_NAME, "not a name for a file"),
    KNOWN(ERROR_NOT_ENOUGH_MEMORY, "out of memory"),
    KNOWN(ERROR_TIMEOUT, "it took too long"),
    KNOWN(WSAEACCES, "taken, reserved or not allowed"),
    KNOWN(WSAEMFILE, "too many open sockets"),
    KNOWN(WSAENOTSOCK, "not a socket"),
    KNOWN(WSAEINVAL, "invalid argument"),
    KNOWN(WSAEOPNOTSUPP, "not supported here"),
    KNOWN(WSAEAFNOSUPPORT, "no such address family here"),
    KNOWN(WSAEADDRINUSE, "the address is in use"),
    KNOWN(WSAEADDRNOTAVAIL, "the address is not one of this computer"),
    KNOWN(WSAENETDOWN, "the network is down"),
    KNOWN(WSAECONNABORTED, "the connection was aborted"),
    KNOWN(WSAECONNRESET, "the connection was reset by the peer"),
    KNOWN(WSAENOBUFS, "no buffer space"),
    KNOWN(WSAENOTCONN, "not connected"),
    KNOWN(WSAETIMEDOUT, "the peer does not answer"),
};

void log_set_level(LOG_LEVEL level) { logLevel = level; }

BOOL log_is_verbose(void) { return logLevel == LOG_VERBOSE; }

/* ---------------------------- writing a line ----------------------------- */

/* A message may repeat what a user typed. Only printable ASCII is written, so
 * no argument can move the cursor or break the line. */
static void make_ascii(char *text)
{
    for (; *text != '\0'; ++text)
        if ((unsigned char)*text < ' ' || (unsigned char)*text > '~')
            *text = '?';
}

static void write_text(DWORD stream, const char *text, size_t length)
{
    DWORD written;

    /* A failure is ignored: the reader of the pipe has gone, or there is no
     * console, and no client should suffer from that. */
    (void)WriteFile(GetStdHandle(stream), text, (DWORD)length, &written, NULL);
}

/* Prints prefix and text as one line; a text too long is cut, not lost. */
static void write_line(DWORD stream, const char *prefix, const char *format,
                       va_list args)
{
    char line[MAX_TEXT];
    size_t start = strlen(prefix);

    memcpy(line, prefix, start);
    if (vsnprintf(line + start, sizeof line - start - 1, format, args) < 0)
        line[start] = '\0';
    make_ascii(line);
    start = strlen(line);
    line[start++] = '\n';
    write_text(stream, line, start);
}

/* -------------------------------- events --------------------------------- */

void log_event(const char *format, ...)
{
    va_list args;

    if (logLevel < LOG_NORMAL)
        return;
    va_start(args, format);
    write_line(STD_OUTPUT_HANDLE, "", format, args);
    va_end(args);
}

void log_detail(const char *format, ...)
{
    va_list args;

    if (logLevel < LOG_VERBOSE)
        return;
    va_start(args, format);
    write_line(STD_OUTPUT_HANDLE, "", format, args);
    va_end(args);
}

void log_text(const char *format, ...)
{
    char text[MAX_TEXT];
    va_list args;

    va_start(args, format);
    if (vsnprintf(text, sizeof text, format, args) < 0)
        text[0] = '\0';
    va_end(args);
    write_text(STD_OUTPUT_HANDLE, text, strlen(text));
}

/* -------------------------------- errors --------------------------------- */

void log_error(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_line(STD_ERROR_HANDLE, PROGRAM_NAME ": ", format, args);
    va_end(args);
}

/* Windows' own text for a code, in English or not at all, without its closing
 * newline and full stop. */
static void system_meaning(int code, char *text, DWORD size)
{
    DWORD length = FormatMessageA(
        FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS
            | FORMAT_MESSAGE_MAX_WIDTH_MASK,  /* one line */
        NULL, (DWORD)code, MAKELANGID(LANG_ENGLISH, SUBLANG_ENGLISH_US), text,
        size, NULL);

    while (length > 0 && strchr("\r\n .", text[length - 1]) != NULL)
        --length;
    text[length] = '\0';
}

static const char *code_name(int code, const char **meaning)
{
    size_t i;

    for (i = 0; i < sizeof knownCodes / sizeof knownCodes[0]; ++i)
        if (knownCodes[i].code == code) {
            *meaning = knownCodes[i].meaning;
            return knownCodes[i].name;
        }
    return "error";
}

typedef struct {
    char call[48];
    int code;
    DWORD at;       /* GetTickCount of the last line */
    DWORD leftOut;  /* reports since then */
} REPORT;

/* The report of this failure; if there was none, the slot of the oldest. The
 * caller holds the lock. */
static REPORT *find_report(REPORT *reports, const char *call, int code)
{
    DWORD now = GetTickCount();
    REPORT *report, *oldest = reports;

    for (report = reports; report < reports + REPORTS; ++report) {
        if (report->code == code
            && strncmp(report->call, call, sizeof report->call - 1) == 0)
            return report;
        if (now - report->at > now - oldest->at)
            oldest = report;
    }
    oldest->code = code;
    oldest->at = now - REPEAT_INTERVAL;
    oldest->leftOut = 0;
    snprintf(oldest->call, sizeof oldest->call, "%s", call);
    return oldest;
}

/* Returns FALSE if this failure was reported less than a minute ago. Else
 * *leftOut is how many reports were left out since. */
static BOOL worth_a_line(const char *call, int code, DWORD *leftOut)
{
    static SRWLOCK lock = SRWLOCK_INIT;  /* nothing is written under it */
    static REPORT reports[REPORTS];
    REPORT *report;
    BOOL due;

    AcquireSRWLockExclusive(&lock);
    report = find_report(reports, call, code);
    due = GetTickCount() - report->at >= REPEAT_INTERVAL;
    *leftOut = report->leftOut;
    report->leftOut = due ? 0 : report->leftOut + 1;
    if (due)
        report->at = GetTickCount();
    ReleaseSRWLockExclusive(&lock);
    return due;
}

void log_failure(const char *call, int code, const char *advice)
{
    char text[256] = "", more[64] = "";
    const char *meaning = text;
    const char *name = code_name(code, &meaning);
    DWORD leftOut;

    if (!worth_a_line(call, code, &leftOut))
        return;
    if (meaning == text)
        system_meaning(code, text, sizeof text);
    if (leftOut > 0)
        snprintf(more, sizeof more, "; %lu more like it were left out",
                 leftOut);
    log_error("%s failed: %s (%s %d)%s%s%s", call,
              *meaning != '\0' ? meaning : "no description", name, code,
              advice != NULL ? "; " : "", advice != NULL ? advice : "", more);
}

BOOL log_unless(BOOL succeeded, const char *call)
{
    /* WSAGetLastError is GetLastError by another name. */
    if (!succeeded)
        log_failure(call, (int)GetLastError(), NULL);
    return succeeded;
}

void fatal_unless(BOOL succeeded, const char *call)
{
    if (log_unless(succeeded, call))
        return;
    console_restore();
    exit(1);
}
