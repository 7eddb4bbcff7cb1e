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

typedef enum {
    LOG_QUIET,   /* errors only                        */
    LOG_NORMAL,  /* start, stop and totals             */
    LOG_VERBOSE  /* also every connection and packet   */
} LOG_LEVEL;

/* Set once, before the first worker starts; only read after that. */
void log_set_level(LOG_LEVEL level);

/* Returns TRUE if log_detail prints: for lines that cost something to make. */
BOOL log_is_verbose(void);

/* Print one event, from LOG_NORMAL or from LOG_VERBOSE on. printf-like, without
 * the newline. */
void log_event(const char *format, ...);
void log_detail(const char *format, ...);

/* Prints one error line, at every level. printf-like, without the newline. */
void log_error(const char *format, ...);

/*
 * Prints one error line about a call that failed: `call` names it and what it
 * was about, `code` is from WSAGetLastError or GetLastError, `advice` says what
 * to do next or what follows from it (NULL: nothing).
 *
 * The same call with the same code is reported at once the first time, then at
 * most once a minute, with the number of reports that were left out.
 */
void log_failure(const char *call, int code, const char *advice);

/* Around a call: if it has not succeeded, report that with its error code.
 * log_unless returns `succeeded` and the caller goes on; fatal_unless is for what
 * cannot fail on a healthy system: it ends the program with status 1. */
BOOL log_unless(BOOL succeeded, const char *call);
void fatal_unless(BOOL succeeded, const char *call);

/* Prints text that was asked for (--help, --version) as it is. printf-like. */
void log_text(const char *format, ...);
