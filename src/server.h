/* server.h - the order of a life: port, workers, listener; accept and stop. */
#pragma once

#include "batch.h"
#include "connection.h"
#include "listener.h"
#include "options.h"
#include "platform.h"
#include "pool.h"
#include "stop.h"

typedef struct {
    const OPTIONS *options;
    STOP stop;              /* what the console's handler may write,        */
    LISTENER listener;      /* ... and what it may close                    */
    HANDLE hComPort;
    REGISTRY registry;      /* who is here                                  */
    BUFFERS buffers;        /* what connections borrow                      */
    BATCH_WORKER *workers;  /* one for each thread of the pool              */
    POOL pool;
    POOL sweeper;           /* one thread, or none                          */
    ULONGLONG accepted;     /* clients; the last one's number               */
    int exitStatus;
} SERVER;

/* Prepares a SERVER, all zero before, for server_stop. Returns FALSE after one
 * line that says why it can't run. */
BOOL server_init(SERVER *server);

/*
 * Runs the server until it is asked to stop, on the calling thread. Returns the
 * exit status: 0 for a clean stop; 1 if it could not run or go on, which one
 * line on standard error has explained. Can be called once.
 */
int server_run(SERVER *server, const OPTIONS *options);

/*
 * Asks the server to stop; `reason` is a constant text for the log. Any thread
 * may call this after server_init, at any time and again. It takes no lock under
 * which anyone prints, prints nothing itself, and does not wait. The second call
 * cuts the drain short.
 */
void server_stop(SERVER *server, const char *reason);
