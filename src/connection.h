/*
 * connection.h - one client: what the completion port hands back for it.
 *
 * The chapter's two structures. PER_HANDLE_DATA is the completion key of the
 * connection's socket: it comes back with every packet of that socket.
 * PER_IO_DATA is one operation: its OVERLAPPED is the first member, so the
 * pointer that GetQueuedCompletionStatus returns is the PER_IO_DATA itself.
 *
 * Who may touch a connection
 *
 *   - It has at most one operation outstanding: READ, WRITE, READ, ...
 *   - From the post until its packet is dequeued the kernel owns the
 *     operation's OVERLAPPED and the buffer.
 *   - One operation gives one packet, one packet goes to one worker. So the
 *     worker that holds the packet is alone with the connection, without a
 *     lock: it may touch, close and free it. It gives this up with its next
 *     post: another worker may have freed the connection before the post
 *     returns to the first.
 *   - With --inline an operation that is done at once gives no packet. Then,
 *     and only then, the poster is still the owner: nobody else will ever hear
 *     of that operation.
 *   - The registry's sweeps (registry.h) need a little of connections that
 *     they do not own:
 *         hClntSock, next, previous   used under the registry's lock
 *         discarding                  written by the owner under that lock
 *         lastActive                  written by the owner, read by sweeps
 *         expired                     written by sweeps, read by the owner
 *     The last two without a lock: an aligned LONG is read and written in one
 *     piece.
 */
#ifndef CONNECTION_H
#define CONNECTION_H

#include "buffer.h"
#include "platform.h"

#define READ  3  /* rwMode, with the chapter's values */
#define WRITE 5

/*
 * A connection has two of these, of which one at most is outstanding. They are
 * two because a stop cancels receives and spares sends: CancelIoEx finds an
 * operation by the address of its OVERLAPPED, and were it the same for both,
 * the cancel meant for a READ could hit the WRITE that a worker has posted in
 * the meantime, and with it bytes that were received and not yet echoed.
 */
typedef struct {
    OVERLAPPED overlapped;  /* must be first                               */
    WSABUF wsaBuf;          /* what is still to be transferred             */
    int rwMode;             /* READ or WRITE: what this packet is about    */
} PER_IO_DATA, *LPPER_IO_DATA;

typedef struct PER_HANDLE_DATA {
    SOCKET hClntSock;
    SOCKADDR_INET clntAdr;      /* a SOCKADDR_IN or a SOCKADDR_IN6         */
    ULONGLONG id;               /* 1, 2, ... in the order of accept        */
    ULONGLONG received, sent;   /* bytes                                   */
    volatile LONG lastActive;   /* GetTickCount of the last packet         */
    volatile LONG expired;      /* the idle sweep has cancelled it         */
    BOOL discarding;            /* stopping: our FIN is sent; what comes is
                                   dropped until the client's              */
    BOOL inlined;               /* what is done at once gives no packet    */
    struct PER_HANDLE_DATA *next, *previous;  /* in the registry's list    */
    char *buffer;               /* READ fills it, WRITE sends it: no copy;
                                   NULL: none, it has nothing to echo      */
    BOOL large;                 /* it is a large one, and borrowed         */
    BOOL wantsLarge;            /* the next READ shall have a large one    */
    DWORD smallReads;           /* in a row, into a large buffer           */
    PER_IO_DATA readIo, writeIo;
} PER_HANDLE_DATA, *LPPER_HANDLE_DATA;

typedef enum {
    CLOSE_EOF,      /* the client has closed, and has all of its bytes     */
    CLOSE_ERROR,    /* an operation failed: a reset, a dead peer           */
    CLOSE_IDLE,     /* --idle-timeout                                      */
    CLOSE_STOPPED   /* the server stops                                    */
} CLOSE_REASON;

/*
 * Main, before the first connection: whether connections that have nothing to
 * echo wait without a buffer, in a receive of zero bytes, and whether they are
 * inlined, that is, do without the packets of what is done at once.
 */
void connection_configure(BOOL zeroByteRecv, BOOL inlined);

/*
 * Makes a connection of an accepted socket: associates it with the port (its
 * key is the address of the PER_HANDLE_DATA) and registers it. The socket
 * belongs to the connection from here on; on failure it is closed, one line
 * says why, and the result is NULL. The caller owns the result until it posts.
 */
LPPER_HANDLE_DATA connection_open(SOCKET hClntSock,
                                  const SOCKADDR_INET *clntAdr, ULONGLONG id,
                                  HANDLE hComPort);

/*
 * Post the next operation: a READ; the READ of what a zero-byte READ has
 * announced; a WRITE of `bytes` bytes from `data`, which lies in the
 * connection's buffer. The caller owns the connection before.
 *
 * The result is NULL: the caller owns it no longer. A packet will come, or has
 * come already; or the post failed at once, so that none will, and the
 * connection has been closed here. Else (--inline) it is the operation: it is
 * done, overlapped.InternalHigh bytes were transferred, no packet will come,
 * and the caller still owns the connection.
 */
LPPER_IO_DATA connection_read(LPPER_HANDLE_DATA handleInfo);
LPPER_IO_DATA connection_read_announced(LPPER_HANDLE_DATA handleInfo);
LPPER_IO_DATA connection_write(LPPER_HANDLE_DATA handleInfo, char *data,
                               DWORD bytes);

/*
 * Queues the packet of an operation that is done and has none: behind those of
 * all others. The caller owns the connection before, and no longer then. FALSE
 * if that failed, which is reported: it still does.
 */
BOOL connection_queue(LPPER_HANDLE_DATA handleInfo, LPPER_IO_DATA ioInfo,
                      HANDLE hComPort);

/* Counts what a READ has brought, and decides how large a buffer the next one
 * shall have. */
void connection_received(LPPER_HANDLE_DATA handleInfo, DWORD bytes);

/*
 * End a connection the caller owns, who owns it no longer then.
 * connection_close closes the socket and frees it at once. connection_finish
 * is for a healthy one that the stop ends: the client is told that nothing
 * more comes, and what it still sends is thrown away until it closes too,
 * says nothing for a while, or the drain is over; its result is that of
 * connection_read.
 */
void connection_close(LPPER_HANDLE_DATA handleInfo, CLOSE_REASON reason);
LPPER_IO_DATA connection_finish(LPPER_HANDLE_DATA handleInfo);

/* Why an operation of a connection the caller owns may have failed. */
CLOSE_REASON connection_failure(const PER_HANDLE_DATA *handleInfo);

/* Tells the peer that no more bytes come (FIN). FALSE if it has gone. */
BOOL connection_shutdown(LPPER_HANDLE_DATA handleInfo);

#endif
