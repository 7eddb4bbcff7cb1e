/*
 * buffer.h - the buffers that connections borrow.
 *
 * A small one (BUF_SIZE) is enough for messages. A connection that streams gets
 * a larger one, step by step, and gives it back when messages get small again,
 * or nothing comes for a second. With --zero-byte-recv a connection has one
 * only while it has something to read and to echo.
 *
 * A buffer belongs to its connection's owner, and to the kernel as long as an
 * operation with it is outstanding. What is given back is kept for the next, up
 * to 1 MiB of each size, in lists without a lock (SLIST): so an echo seldom
 * allocates.
 */
#pragma once

#include "options.h"

#define BUFFER_SIZES 3

typedef struct {
    DWORD sizes[BUFFER_SIZES];         /* bytes, from BUF_SIZE on           */
    SLIST_HEADER kept[BUFFER_SIZES];   /* free ones, a list for each size   */
    LONG limit;                        /* of what is lent at once: bytes of
                                          buffers larger than BUF_SIZE      */
    volatile LONG lent;
    DWORD last;                        /* the largest, in sizes             */
    BOOL onlyAnnounced;                /* none for a READ that may wait     */
} BUFFERS;

/* One connection's; all zero at first. */
typedef struct {
    char *data;                        /* NULL: it has none                 */
    DWORD size;                        /* bytes                             */
    DWORD step, wanted;                /* in sizes: of this, of the next    */
    DWORD fullReads;                   /* of this size                      */
    DWORD smallReads;                  /* in a row                          */
} BUFFER;

/* Opens empty lists, in a BUFFERS that was all zero. */
void buffers_open(BUFFERS *buffers, const OPTIONS *options);

/* Frees what is kept. Call when no connection is left. */
void buffers_close(BUFFERS *buffers);

/*
 * Only the owner of the connection calls these. Call buffer_prepare before a
 * READ, when the buffer holds nothing. It borrows one of the size wanted, or
 * else a smaller one, and returns FALSE if there is not even that. With
 * --zero-byte-recv a READ that is not announced gets no buffer: it has zero
 * bytes. buffer_return gives the buffer back. buffer_received notes how much a
 * READ has brought, and decides by that how large the next buffer should be.
 */
BOOL buffer_prepare(BUFFERS *buffers, BUFFER *buffer, BOOL announced);
void buffer_return(BUFFERS *buffers, BUFFER *buffer);
void buffer_received(const BUFFERS *buffers, BUFFER *buffer, DWORD bytes);
