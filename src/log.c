/* log.c - whole lines, written at once. See log.h. */
#include "log.h"
#include "version.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_TEXT 4096  /* bytes; what is longer is cut */

static LOG_LEVEL logLevel = LOG_NORMAL;

/* The codes a user of this server is likely to meet. Windows has a text for
 * each, but in the user's language: not ASCII, and not what a search finds. */
static const struct {
    int code;
    const char *name;
    const char *meaning;
} knownCodes[] = {
    {ERROR_FILE_NOT_FOUND, "ERROR_FILE_NOT_FOUND", "no such file"},
    {ERROR_PATH_NOT_FOUND, "ERROR_PATH_NOT_FOUND", "no such directory"},
    {ERROR_ACCESS_DENIED, "ERROR_ACCESS_DENIED", "access is denied"},
    {ERROR_SHARING_VIOLATION, "ERROR_SHARING_VIOLATION",
     "another program has the file open"},
    {ERROR_DISK_FULL, "ERROR_DISK_FULL", "the disk is full"},
    {ERROR_INVALID_NAME, "ERROR_INVALID_NAME", "not a name for a file"},
    {ERROR_NOT_ENOUGH_MEMORY, "ERROR_NOT_ENOUGH_MEMORY", "out of memory"},
    {ERROR_OPERATION_ABORTED, "ERROR_OPERATION_ABORTED",
     "the operation was cancelled"},
    {ERROR_NETNAME_DELETED, "ERROR_NETNAME_DELETED",
     "the connection was reset"},
    {ERROR_ABANDONED_WAIT_0, "ERROR_ABANDONED_WAIT_0",
     "the completion port was closed"},
    {WSAEACCES, "WSAEACCES", "taken, reserved or not allowed"},
    {WSAEMFILE, "WSAEMFILE", "too many open sockets"},
    {WSAENOTSOCK, "WSAENOTSOCK", "not a socket"},
    {WSAEINVAL, "WSAEINVAL", "invalid argument"},
    {WSAEAFNOSUPPORT, "WSAEAFNOSUPPORT", "no such address family here"},
    {WSAEADDRINUSE, "WSAEADDRINUSE", "the address is in use"},
    {WSAEADDRNOTAVAIL, "WSAEADDRNOTAVAIL",
     "the address is not one of this computer"},
    {WSAENETDOWN, "WSAENETDOWN", "the network is down"},
    {WSAECONNABORTED, "WSAECONNABORTED", "the connection was aborted"},
    {WSAECONNRESET, "WSAECONNRESET", "the connection was reset by the peer"},
    {WSAENOBUFS, "WSAENOBUFS", "no buffer space"},
    {WSAENOTCONN, "WSAENOTCONN", "not connected"},
    {WSAETIMEDOUT, "WSAETIMEDOUT", "the peer does not answer"},
};

void log_set_level(LOG_LEVEL level) { logLevel = level; }

BOOL log_is_verbose(void) { return logLevel == LOG_VERBOSE; }

/* ---------------------------- writing a line ----------------------------- */

/* What a user typed may come back in a message: nothing but printable ASCII
 * gets out, so no argument can move the cursor or break the line. */
static void make_ascii(char *text)
{
    for (; *text != '\0'; ++text)
        if ((unsigned char)*text < ' ' || (unsigned char)*text > '~')
            *text = '?';
}

static void write_text(DWORD stream, const char *text, size_t length)
{
    DWORD written;

    /* A failure (the reader of the pipe has gone, no console) has nobody left
     * to be told to, and no client shall suffer from it: it is ignored. But a
     * reader that does not read, or a console in which text is being selected,
     * makes this wait, and whoever prints with it. */
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

/* Windows' own text for a code that is not in the table, in English or not at
 * all; its closing newline and full stop are cut off. */
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

void log_failure(const char *call, int code, const char *advice)
{
    char text[256] = "";
    const char *name = "error";
    const char *meaning = text;
    size_t i;

    for (i = 0; i < sizeof knownCodes / sizeof knownCodes[0]; ++i)
        if (knownCodes[i].code == code) {
            name = knownCodes[i].name;
            meaning = knownCodes[i].meaning;
        }
    if (meaning == text)
        system_meaning(code, text, sizeof text);
    if (*meaning == '\0')
        meaning = "no description";
    log_error("%s failed: %s (%s %d)%s%s", call, meaning, name, code,
              advice != NULL ? "; " : "", advice != NULL ? advice : "");
}
