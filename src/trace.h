/*
 * trace.h - what the server does, as a file for a viewer (--trace).
 *
 * The file is in Chrome's Trace Event format: chrome://tracing and
 * ui.perfetto.dev show it, trace_view.py makes a page of it. It says when
 * which worker had which packet, and when the kernel had an operation. The
 * rest follows from that: who owns a connection, how many workers are busy.
 *
 * Write a call as TRACE(trace_...(...)). Without a trace it costs one look at a
 * flag; with one, a lock and a few microseconds, which the times shown include.
 * An event is about the thread that makes the call. What belongs to an
 * operation is passed by value, before the post: after it the connection may be
 * gone.
 */
#pragma once

#include "platform.h"

/* Written by trace.c alone. A call after the trace has ended does nothing. */
extern volatile LONG traceOn;

#define TRACE(call) (traceOn ? (call) : (void)0)

/* Declares a variable with the time, for an event that is written later. */
#define TRACE_TIME(name) LONGLONG name = traceOn ? trace_clock() : 0

LONGLONG trace_clock(void);

/* Main calls trace_open before it starts another thread, trace_close after all
 * have ended. `name` is the file's, and is kept; NULL: there is no trace. If
 * the file can't be made or written, or is not on a disk (whoever writes to a
 * pipe or a device may have to wait), one line says so, and the server goes on.
 * The other arguments are for the viewer; `work` is in ms. */
void trace_open(const char *name, DWORD workers, DWORD concurrency, DWORD cpus,
                DWORD work, BOOL spins);
void trace_close(void);

/* Names the calling thread: "worker" and 3, or "sweep" and 0 for the name
 * alone. (Main has its name.) */
void trace_thread(const char *name, DWORD number);

/* A worker has taken a packet: of an operation (or of one that was done at
 * once, without a packet), which failed if `code` is not 0; or one that was
 * posted by hand. It begins or ends --work. It is done with the packet. */
void trace_packet(ULONGLONG conn, const char *mode, DWORD bytes, DWORD code);
void trace_posted(BOOL sentinel, DWORD bytes);
void trace_work(BOOL begins, BOOL spins);
void trace_waiting(void);

/* A connection begins; its owner gives an operation to the kernel; gets it
 * back, because the post failed; is about to close the connection. */
void trace_accepted(ULONGLONG conn, const SOCKADDR_INET *peer);
void trace_post(ULONGLONG conn, const char *mode, DWORD bytes);
void trace_post_failed(ULONGLONG conn, const char *mode, DWORD code);
void trace_closing(ULONGLONG conn, const char *reason, ULONGLONG received,
                   ULONGLONG sent);

/* The stop. Main reports it when it notices: nothing that writes may run on
 * the console's thread. trace_moment: "listener closed", "cut", "drain over",
 * "sentinel posted" (before each post). */
void trace_stop(const char *reason);
void trace_cancel(LONGLONG began, ULONGLONG conn, BOOL everything,
                  const char *why);
void trace_moment(const char *name);
