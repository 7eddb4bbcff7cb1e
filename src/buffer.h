/*
 * buffer.h - the buffers of connections, which they own or borrow.
 *
 * A small one (BUF_SIZE) is enough for messages, and every connection has one
 * of its own. A connection that streams borrows a large one, and gives it back
 * when messages get small again. With --zero-byte-recv a connection has none of
 * its own and borrows one from the moment it has something to read until that
 * is echoed.
 *
 * A buffer belongs to its connection's owner, and to the kernel as long as an
 * operation with it is outstanding. What is given back is kept for the next,
 * up to some megabytes, in lists without a lock (SLIST): so an echo allocates
 * nothing.
 */
#pragma once

#include "options.h"

/* Buffers of one size that are kept for the next that borrows. */
typedef struct {
    SLIST_HEADER kept;
    DWORD size;              /* bytes of each                               */
} BUFFER_LIST;

typedef struct {
    BUFFER_LIST small, large;
    volatile LONG used;      /* one was borrowed since the last trim        */
    BOOL lendsAll;           /* connections have no buffer of their own     */
} BUFFERS;

/* One connection's. */
typedef struct {
    char *data;
    DWORD size;              /* bytes; 0: it has none at present            */
    BYTE wantsLarge;         /* TRUE or FALSE: for the next READ            */
    BYTE smallReads;         /* in a row, into a large one                  */
    char *own;               /* its own small one, which it goes back to, or
                                NULL; the connection frees it               */
    BUFFER_LIST *from;       /* it is borrowed from there; NULL: it is not  */
} BUFFER;

/* Opens the lists; a large buffer has `largest` bytes (BUF_SIZE: there are no
 * large ones). */
void buffers_open(BUFFERS *buffers, DWORD largest, BOOL lendsAll);

/* Frees what is kept. Call when no connection is left. */
void buffers_close(BUFFERS *buffers);

/* Frees most of what is kept if nobody has borrowed since the last call: it
 * was kept for a burst, which is over. */
void buffers_trim(BUFFERS *buffers);

/*
 * For the owner of a connection, between an echo and the next READ, when its
 * buffer holds nothing. buffer_prepare sees to a buffer of the size wanted, or a
 * small one if there is no memory; returns FALSE if there is not even that. If
 * all buffers are lent, and no READ of zero bytes has announced that something
 * has come, it is a buffer of zero bytes. buffer_return gives back what is
 * borrowed. buffer_received notes how much a READ has brought, and from that how
 * large the next buffer should be.
 */
BOOL buffer_prepare(BUFFERS *buffers, BUFFER *buffer, BOOL announced);
void buffer_return(BUFFER *buffer);
void buffer_received(const BUFFERS *buffers, BUFFER *buffer, DWORD bytes);
