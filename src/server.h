/* server.h - the port, the workers, the listener; accepting and stopping. */
#ifndef SERVER_H
#define SERVER_H

#include "options.h"
#include "platform.h"

/*
 * Runs the server until it is asked to stop, on the calling thread. Returns
 * the exit status: 0 for a clean stop, 1 if it could not run or go on, which
 * one line on standard error has explained. Can be called once.
 */
int server_run(const OPTIONS *options);

/*
 * Asks the server to stop; `reason` is a constant text for the log. Any thread
 * may call this at any time, also before server_run; it does not wait. A
 * second call cuts the drain short.
 */
void server_stop(const char *reason);

/* A worker has taken so many sentinels that are meant for others. */
void server_return_sentinels(DWORD count);

/* A worker's wait on the port failed with `code`, and the worker ends. */
void server_worker_lost(DWORD id, DWORD code);

#endif
