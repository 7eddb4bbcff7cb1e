#ifndef TRACE_H
#define TRACE_H
#include "options.h"
#include "platform.h"
extern volatile LONG traceOn;
#define TRACE(call)      (traceOn ? (call) : (void)0)
#define TRACE_TIME(name) LONGLONG name = traceOn ? trace_clock() : 0
void trace_open(const OPTIONS *options, DWORD workers, DWORD concurrency,
                DWORD cpus);
void trace_close(void);
LONGLONG trace_clock(void);
void trace_thread(const char *name, DWORD number);
void trace_packet(ULONGLONG conn, BOOL write, DWORD bytes, DWORD code);
void trace_posted(BOOL sentinel, DWORD bytes);
void trace_waiting(void);
void trace_work(BOOL begins, BOOL spins);
void trace_post(ULONGLONG conn, BOOL write, DWORD bytes);
void trace_post_failed(ULONGLONG conn, BOOL write, DWORD code);
void trace_accepted(ULONGLONG conn, const SOCKADDR_INET *peer);
void trace_closing(ULONGLONG conn, const char *reason, ULONGLONG received,
                   ULONGLONG sent);
void trace_cancel(LONGLONG began, ULONGLONG conn, BOOL everything,
                  const char *why);
void trace_stop(const char *reason);
void trace_moment(const char *name);
#endif
