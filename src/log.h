/*
 * log.h - what the server says.
 *
 * Events go to standard output, one a line, as `event key=value ...`; errors
 * go to standard error, one a line, with the program's name in front. Every
 * line is ASCII and is written with a single WriteFile, so lines of several
 * threads never mix and a pipe sees them at once.
 *
 * A reader that stops reading makes whoever prints wait. So the console's
 * handler calls nothing here.
 */
#pragma once

#include "platform.h"

#define ADDRESS_TEXT 72  /* bytes that hold every address as text */

typedef enum {
    LOG_QUIET,   /* errors only                        */
    LOG_NORMAL,  /* start, stop and totals             */
    LOG_VERBOSE  /* also every connection and packet   */
} LOG_LEVEL;

/* How much is printed. Set before the first worker starts; only read after
 * that. */
extern LOG_LEVEL logLevel;

/* Print one event, from LOG_NORMAL or from LOG_VERBOSE on. printf-like, without
 * the newline. What is not printed is not computed either. */
#define log_event(...)  log_from(LOG_NORMAL, __VA_ARGS__)
#define log_detail(...) log_from(LOG_VERBOSE, __VA_ARGS__)
#define log_from(level, ...) \
    (logLevel >= (level) ? log_line(level, __VA_ARGS__) : (void)0)

/* Prints one error line, at every level. printf-like, without the newline. */
#define log_error(...) log_line(LOG_QUIET, __VA_ARGS__)

/* Prints one line: an error for LOG_QUIET, an event for the others. */
void log_line(LOG_LEVEL level, const char *format, ...);

/* Writes an address and its port as "127.0.0.1:9190" or "[::1]:9190". Returns
 * `text`. An IPv4 address that a dual-stack socket has wrapped, as
 * ::ffff:127.0.0.1, is shown as IPv4. */
const char *log_address(const SOCKADDR_INET *address, char text[ADDRESS_TEXT]);

/*
 * Prints one error line about a call that failed: `code` is from
 * WSAGetLastError or GetLastError, `advice` says what to do next or what
 * follows from it (NULL: nothing), `call` names the call and what it was about,
 * printf-like.
 *
 * The same call with the same code is reported at once the first time, then at
 * most once a minute, with the number of reports that were left out.
 */
void log_failure(int code, const char *advice, const char *call, ...);

/* Report a call that has not succeeded, with its error code. log_unless returns
 * `succeeded`, and the caller goes on. fatal_unless is for what cannot fail on
 * a healthy system: it calls logLast and ends the program with status 1. */
BOOL log_unless(BOOL succeeded, const char *call);
void fatal_unless(BOOL succeeded, const char *call);
extern void (*logLast)(void);  /* NULL: there is nothing to do */
