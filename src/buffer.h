/*
 * buffer.h - buffers that connections borrow.
 *
 * A small one (BUF_SIZE) is enough for messages; a connection that streams
 * borrows a large one, and gives it back when messages get small again. With
 * --zero-byte-recv a connection has no buffer of its own and borrows one from
 * the moment it has something to read until that is echoed.
 *
 * A buffer belongs to who has borrowed it, and is the kernel's as long as an
 * operation with it is outstanding. What was given back is kept for the next
 * one, up to some megabytes, in lists without a lock (SLIST): so an echo
 * allocates nothing.
 */
#ifndef BUFFER_H
#define BUFFER_H

#include "platform.h"

#define BUF_SIZE 4096u  /* bytes of a small buffer */

/*
 * Once, before the first worker starts: how many bytes a large buffer has. If
 * that is BUF_SIZE there are no large ones.
 */
void buffer_open(DWORD largest);

/* Main, when no connection is left: frees what was kept. */
void buffer_close(void);

/* Frees most of what is kept, if nobody has borrowed one since the last call:
 * it was kept for a burst, which is over. (Called where the sweep thread runs:
 * with --zero-byte-recv, of which bursts need much.) */
void buffer_trim(void);

/* BUF_SIZE, or with `large` what buffer_open was told. */
DWORD buffer_size(BOOL large);

/*
 * Borrows a buffer of buffer_size(large) bytes; NULL if there is no memory.
 * buffer_give takes it back, with the same `large`. NULL is nothing to give.
 * Any thread may call these.
 */
char *buffer_take(BOOL large);
void buffer_give(char *buffer, BOOL large);

#endif
