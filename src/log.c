/* log.c - whole lines, written at once. See log.h. */
#include "log.h"
#include "version.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TEXT 4096  /* bytes; what is longer is cut */
#define REPORTS  16    /* failures that are told apart */

/* ms after a report in which the same failure is not reported again. */
#ifndef REPEAT_INTERVAL
#define REPEAT_INTERVAL 60000u
#endif

LOG_LEVEL logLevel = LOG_NORMAL;
void (*logLast)(void);

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
    KNOWN(ERROR_INVALID_NAME, "not the name of a file on a disk"),
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

/* -------------------------------- one line ------------------------------- */

/* A message may repeat what a user typed. Only printable ASCII is written, so
 * no argument can move the cursor or break the line. */
static void make_ascii(char *text)
{
    for (; *text != '\0'; ++text)
        if ((unsigned char)*text < ' ' || (unsigned char)*text > '~')
            *text = '?';
}

/* Cuts a text that is too long. */
void log_line(LOG_LEVEL level, const char *format, ...)
{
    BOOL error = level == LOG_QUIET;
    char line[MAX_TEXT];
    size_t start = (size_t)snprintf(line, sizeof line, "%s",
                                    error ? PROGRAM_NAME ": " : "");
    va_list args;
    DWORD written;

    va_start(args, format);
    if (vsnprintf(line + start, sizeof line - start - 1, format, args) < 0)
        line[start] = '\0';
    va_end(args);
    make_ascii(line);
    start = strlen(line);
    line[start++] = '\n';
    /* A failure is ignored: the reader of the pipe has gone, or there is no
     * console, and no client should suffer from that. */
    (void)WriteFile(GetStdHandle(error ? STD_ERROR_HANDLE : STD_OUTPUT_HANDLE),
                    line, (DWORD)start, &written, NULL);
}

const char *log_address(const SOCKADDR_INET *address, char text[ADDRESS_TEXT])
{
    static const char wrap[] = "::ffff:";  /* RFC 4291, 2.5.5.2 */
    BOOL ipv6 = address->si_family == AF_INET6;
    char host[ADDRESS_TEXT - sizeof "[]:65535"];
    const char *shown = host;

    if (getnameinfo((const SOCKADDR *)address,
                    ipv6 ? sizeof address->Ipv6 : sizeof address->Ipv4, host,
                    sizeof host, NULL, 0, NI_NUMERICHOST)
        != 0)
        snprintf(host, sizeof host, "unknown");
    if (strncmp(host, wrap, strlen(wrap)) == 0 && strchr(host, '.') != NULL) {
        shown += strlen(wrap);
        ipv6 = FALSE;
    }
    /* The port is at the same place in both families. */
    snprintf(text, ADDRESS_TEXT, ipv6 ? "[%s]:%u" : "%s:%u", shown,
             ntohs(address->Ipv4.sin_port));
    return text;
}

/* --------------------------------- errors -------------------------------- */

/* Writes what a code means and its name: in Windows' words if it is not one of
 * those above, but only in English. */
static void describe(int code, char *text, size_t size)
{
    char meaning[256];
    DWORD i, length;

    for (i = 0; i < sizeof knownCodes / sizeof knownCodes[0]; ++i)
        if (knownCodes[i].code == code) {
            snprintf(text, size, "%s (%s %d)", knownCodes[i].meaning,
                     knownCodes[i].name, code);
            return;
        }
    length = FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM
                                | FORMAT_MESSAGE_IGNORE_INSERTS
                                | FORMAT_MESSAGE_MAX_WIDTH_MASK,  /* one line */
                            NULL, (DWORD)code,
                            MAKELANGID(LANG_ENGLISH, SUBLANG_ENGLISH_US),
                            meaning, sizeof meaning, NULL);
    /* Without its closing newline and full stop. */
    while (length > 0 && strchr("\r\n .", meaning[length - 1]) != NULL)
        --length;
    meaning[length] = '\0';
    snprintf(text, size, "%s (error %d)",
             length > 0 ? meaning : "no description", code);
}

typedef struct {
    char call[48];
    int code;
    DWORD at;       /* GetTickCount of the last line */
    DWORD leftOut;  /* reports since then */
} REPORT;

/* Returns FALSE if this failure was reported less than a minute ago. Else
 * *leftOut is how many reports were left out since. */
static BOOL worth_a_line(const char *call, int code, DWORD *leftOut)
{
    static SRWLOCK lock = SRWLOCK_INIT;  /* nothing is written under it */
    static REPORT reports[REPORTS];
    REPORT *report, *oldest = reports;
    DWORD now;
    BOOL due;

    AcquireSRWLockExclusive(&lock);
    now = GetTickCount();
    for (report = reports; report < reports + REPORTS; ++report) {
        if (report->code == code
            && strncmp(report->call, call, sizeof report->call - 1) == 0)
            break;
        if (now - report->at > now - oldest->at)
            oldest = report;
    }
    if (report == reports + REPORTS) {
        report = oldest;
        report->code = code;
        report->at = now - REPEAT_INTERVAL;
        report->leftOut = 0;
        snprintf(report->call, sizeof report->call, "%s", call);
    }
    due = now - report->at >= REPEAT_INTERVAL;
    *leftOut = report->leftOut;
    report->leftOut = due ? 0 : report->leftOut + 1;
    if (due)
        report->at = now;
    ReleaseSRWLockExclusive(&lock);
    return due;
}

void log_failure(int code, const char *advice, const char *call, ...)
{
    char what[512], meaning[320], more[64] = "";
    DWORD leftOut;
    va_list args;

    va_start(args, call);
    if (vsnprintf(what, sizeof what, call, args) < 0)
        what[0] = '\0';
    va_end(args);
    if (!worth_a_line(what, code, &leftOut))
        return;
    describe(code, meaning, sizeof meaning);
    if (leftOut > 0)
        snprintf(more, sizeof more, "; %lu more like it were left out",
                 leftOut);
    log_error("%s failed: %s%s%s%s", what, meaning, advice != NULL ? "; " : "",
              advice != NULL ? advice : "", more);
}

BOOL log_unless(BOOL succeeded, const char *call)
{
    /* WSAGetLastError is GetLastError by another name. */
    if (!succeeded)
        log_failure((int)GetLastError(), NULL, "%s", call);
    return succeeded;
}

void fatal_unless(BOOL succeeded, const char *call)
{
    static volatile LONG ends = FALSE;

    if (succeeded)
        return;
    /* Several threads may come here at once. The first says why, and the others
     * must not end the program before its line is written. */
    if (InterlockedExchange(&ends, TRUE))
        Sleep(INFINITE);
    log_unless(FALSE, call);
    if (logLast != NULL)
        logLast();
    exit(1);  /* NOLINT(concurrency-mt-unsafe): nothing is left to be safe */
}
