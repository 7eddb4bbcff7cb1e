/*
 * batch.h - --batch and --inline: workers that take several packets in one
 * call, or do without the packets of what is done at once.
 */
#pragma once

#include "connection.h"
#include "platform.h"
#include "worker.h"

/* A worker of this kind is a WORKER, and what it needs beyond that. */
typedef struct {
    WORKER worker;           /* must be first                               */
    const REGISTRY *registry;
    DWORD workers;           /* how many there are                          */
    LPPER_HANDLE_DATA done;  /* list of those whose operation is done and
                                gave no packet                              */
    /* Set when it ends: */
    ULONGLONG waits;         /* calls that took packets                     */
    ULONGLONG inlined;       /* operations that were done without a packet  */
} BATCH_WORKER;

/* The thread function, in place of EchoThreadMain. The BATCH_WORKER is this
 * thread's alone until it has ended. */
unsigned WINAPI BatchThreadMain(LPVOID pWorker);
