#include "trace.h"
volatile LONG traceOn;
void trace_open(const OPTIONS *o, DWORD w, DWORD c, DWORD p)
{
    (void)o, (void)w, (void)c, (void)p;
}
void trace_close(void) {}
LONGLONG trace_clock(void) { return 0; }
void trace_thread(const char *n, DWORD m) { (void)n, (void)m; }
void trace_packet(ULONGLONG c, BOOL w, DWORD b, DWORD d)
{
    (void)c, (void)w, (void)b, (void)d;
}
void trace_posted(BOOL s, DWORD b) { (void)s, (void)b; }
void trace_waiting(void) {}
void trace_work(BOOL b, BOOL s) { (void)b, (void)s; }
void trace_post(ULONGLONG c, BOOL w, DWORD b) { (void)c, (void)w, (void)b; }
void trace_post_failed(ULONGLONG c, BOOL w, DWORD b)
{
    (void)c, (void)w, (void)b;
}
void trace_accepted(ULONGLONG c, const SOCKADDR_INET *p) { (void)c, (void)p; }
void trace_closing(ULONGLONG c, const char *r, ULONGLONG a, ULONGLONG s)
{
    (void)c, (void)r, (void)a, (void)s;
}
void trace_cancel(LONGLONG b, ULONGLONG c, BOOL e, const char *w)
{
    (void)b, (void)c, (void)e, (void)w;
}
void trace_stop(const char *r) { (void)r; }
void trace_moment(const char *n) { (void)n; }
