/*
 * stop.h - whether the server stops: the one state that says so.
 *
 * The console's handler writes it from a thread of its own, at any moment.
 * Nothing here takes a lock or prints, so nothing that prints can keep a stop
 * from happening.
 */
#pragma once

#include "platform.h"

typedef struct {
    void *volatile reason;  /* const char *: why it stops; NULL: it runs   */
    volatile LONG cutAt;     /* GetTickCount of when the drain was cut short or
                                 was over; 0: it is not                      */
    SOCKET listener;         /* main's to use; the stop closes it           */
    HANDLE event;            /* set once it stops and the listener is closed;
                                 never closed, because a handler may set it as
                                 the process ends                            */
} STOP;

/* Opens a STOP that was all zero. Takes over the listening socket: whatever
 * begins the stop closes it, which releases accept. */
void stop_open(STOP *stop, SOCKET listener);

/* Begins the stop; `reason` is a constant text for the log. Returns FALSE if
 * the server was stopping already. */
BOOL stop_begin(STOP *stop, const char *reason);

/* Ends the drain: from here on everything is cancelled. */
void stop_cut(STOP *stop);

BOOL stop_begun(const STOP *stop);

/* Waits for the event, at most `milliseconds`. Returns stop_begun. */
BOOL stop_wait(const STOP *stop, DWORD milliseconds);
