/* worker.h - the threads that wait on the completion port. */
#pragma once

#include "connection.h"
#include "options.h"
#include "platform.h"

typedef struct {
    HANDLE hComPort;         /* the port it waits on; the server owns it    */
    DWORD id;                /* 1, 2, ...                                   */
    const OPTIONS *options;
    const STOP *stop;        /* whether the server stops                    */
    ULONGLONG completions;   /* packets of operations; set when it ends     */
} WORKER;

/* The thread function, for _beginthreadex. The WORKER is this thread's alone
 * until it has ended. */
unsigned WINAPI EchoThreadMain(LPVOID pWorker);

/*
 * For a thread that takes packets in a way of its own (batch.c):
 * worker_operation handles one operation, which failed if `code` is not
 * NO_ERROR; the caller owns the connection before, and no longer afterwards.
 * worker_posted handles a packet without an operation, and returns FALSE if it
 * is a sentinel.
 */
void worker_operation(WORKER *worker, LPPER_HANDLE_DATA handleInfo,
                      LPPER_IO_DATA ioInfo, DWORD bytes, DWORD code);
BOOL worker_posted(const WORKER *worker, ULONG_PTR key, DWORD bytes);
