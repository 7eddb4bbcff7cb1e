/*
 * trace.h - what the server does, as a file for a viewer (--trace).
 *
 * The file is in Chrome's Trace Event format: chrome://tracing and
 * ui.perfetto.dev show it. It says when which worker had which packet, and
 * when a connection belonged to the kernel and when to a worker.
 *
 * Calls are written TRACE(trace_...(...)): as long as there is no trace, that
 * is one look at a flag. With one it is a lock and some microseconds,
 * which are in the times shown. Any thread may call these; each tells of the
 * thread that calls it. What belongs to an operation is passed by value and
 * told before the post, because after it the connection may be gone.
 */
#ifndef TRACE_H
#define TRACE_H

#include "connection.h"
#include "options.h"
#include "platform.h"

/* Written by trace.c alone. A call after the trace has ended does nothing. */
extern volatile LONG traceOn;

#define TRACE(call) (traceOn ? (call) : (void)0)

/*
 * Main, before the other threads start and after they have ended. A file that
 * can't be made or written is told of in one line, and the trace ends there;
 * the server does not.
 */
void trace_open(const OPTIONS *options, DWORD cpus);
void trace_close(void);

/* The calling thread's lane: a worker's id, or one more than the last worker's
 * for the idle sweep. (Main has lane 0, threads without get the last.) */
void trace_thread(DWORD lane);

/* The time, for what is told after it has begun. */
LONGLONG trace_clock(void);

/* A worker has taken a packet: of an operation (or one that is done without),
 * or one posted by hand; and is done with it. */
void trace_packet(ULONGLONG conn, int rwMode, DWORD bytes, DWORD code);
void trace_posted(BOOL sentinel, DWORD bytes);
void trace_waiting(void);

/* The work for a READ is over. */
void trace_work(LONGLONG began, ULONGLONG conn, BOOL spins);

/* The owner of a connection gives it to the kernel; has got it back because
 * the post failed; is about to close it. */
void trace_post(ULONGLONG conn, int rwMode, DWORD bytes);
void trace_post_failed(ULONGLONG conn, int rwMode, int code);
void trace_accepted(const PER_HANDLE_DATA *handleInfo);
void trace_closing(const PER_HANDLE_DATA *handleInfo, const char *reason);

/* The stop, and what else happens in a moment. */
void trace_stop(const char *reason);
void trace_cancel(LONGLONG began, ULONGLONG conn, BOOL everything,
                  const char *why);
void trace_sentinel(LONGLONG began, DWORD worker);
void trace_moment(const char *name);

#endif
