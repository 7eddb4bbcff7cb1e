/*
 * echo.h - the service: what the server does with the bytes it receives.
 *
 * This is the place for a protocol of your own. Replace echo.c; the rest of
 * the server stays as it is.
 */
#pragma once

#include <stddef.h>

/*
 * Makes the answer to what one connection has sent.
 *
 * `data` holds `bytes` bytes that have just come; TCP cuts them anywhere. The
 * answer is written to the same place, over them: `room` bytes are there, at
 * least 4096. Returns its length, at most `room`; 0 to send nothing and wait
 * for more.
 *
 * `bytes` is 0 when the client has sent its last byte. What is returned then is
 * still sent, and the question comes again; 0 ends the connection.
 *
 * *kept is the connection's own, NULL at first: the service may store a
 * pointer there, for instance to memory with the beginning of a message.
 *
 * One thread at a time calls this for a connection, but not always the same
 * one; several threads call it for several connections at once. It must not
 * block for long: a worker waits in it.
 */
size_t echo_received(void **kept, char *data, size_t bytes, size_t room);

/* Frees what `kept` points to; NULL is nothing. Called once for each
 * connection, when it ends, however it ends. */
void echo_closed(void *kept);
