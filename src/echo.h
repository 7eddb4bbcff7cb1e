/*
 * echo.h - the service: what the server does with the bytes it receives.
 *
 * This is the place for a protocol of your own. Replace echo.c; the rest of
 * the server stays as it is.
 */
#pragma once

#include <stddef.h>

/* What the service knows of one connection; all zero at first. */
typedef struct {
    void *kept;  /* the service's own, for instance memory with the beginning
                    of a message                                            */
    int ended;   /* the client has sent its last byte                       */
    int more;    /* set by the service: there is more to answer             */
} ECHO;

/*
 * Makes the next part of the answer.
 *
 * `data` holds `bytes` bytes that have just come; TCP cuts them anywhere. Write
 * the answer over them: there is room for `room` bytes, at least 4096. Return
 * its length, at most `room`; 0 to send nothing.
 *
 * When the answer is sent, this is called again with no bytes if echo->more or
 * echo->ended is set. Once echo->ended is set, a call that returns 0 ends the
 * connection. Otherwise the next call comes with the next bytes.
 *
 * One thread at a time calls this for a connection, but not always the same
 * one; several threads call it for several connections at once. It should not
 * block for long: a worker waits in it.
 */
size_t echo_answer(ECHO *echo, char *data, size_t bytes, size_t room);

/* Frees what is kept. Called once for each connection, however it ends. */
void echo_closed(ECHO *echo);
