/*
 * log.h - what the server says.
 *
 * Events go to standard output, one a line, as `event key=value ...`; errors
 * go to standard error, one a line, with the program's name in front. Every
 * line is ASCII and is written with a single WriteFile, so that lines of
 * several threads never mix and a pipe sees them at once.
 */
#ifndef LOG_H
#define LOG_H

#include "platform.h"

typedef enum {
    LOG_QUIET,   /* errors only                        */
    LOG_NORMAL,  /* start, stop and totals             */
    LOG_VERBOSE  /* also every connection and packet   */
} LOG_LEVEL;

/* Set once, before the first worker starts; only read after that. */
void log_set_level(LOG_LEVEL level);

/* TRUE if log_detail prints: asked where composing the line costs something. */
BOOL log_is_verbose(void);

/* printf-like, without the newline: an event at LOG_NORMAL, LOG_VERBOSE. */
void log_event(const char *format, ...);
void log_detail(const char *format, ...);

/* printf-like, without the newline: one error line, at every level. */
void log_error(const char *format, ...);

/*
 * One error line for a call that failed: its name, the code with its name
 * (WSAGetLastError or GetLastError), what the code means, and in `advice`
 * what to do next, or NULL.
 */
void log_failure(const char *call, int code, const char *advice);

/* printf-like, as it stands: text asked for (--help, --version). */
void log_text(const char *format, ...);

#endif
