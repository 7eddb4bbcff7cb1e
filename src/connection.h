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

#include "platform.h"

#ifndef BUF_SIZE
#define BUF_SIZE 4096  /* bytes read at once, and all a connection can hold */
#endif

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
    struct PER_HANDLE_DATA *next, *previous;  /* in the registry's list    */
    PER_IO_DATA readIo, writeIo;
    char buffer[BUF_SIZE];      /* READ fills it, WRITE sends it: no copy  */
} PER_HANDLE_DATA, *LPPER_HANDLE_DATA;

typedef enum {
    CLOSE_EOF,      /* the client has closed, and has all of its bytes     */
    CLOSE_ERROR,    /* an operation failed: a reset, a dead peer           */
    CLOSE_IDLE,     /* --idle-timeout                                      */
    CLOSE_STOPPED   /* the server stops                                    */
} CLOSE_REASON;

/*
 * Makes a connection of an accepted socket: sets its options, associates it
 * with the port (its key is the address of the PER_HANDLE_DATA) and registers
 * it. The socket belongs to the connection from here on; on failure it is
 * closed, one line says why, and the result is NULL. The caller owns the
 * result until it calls connection_read.
 */
LPPER_HANDLE_DATA connection_open(SOCKET hClntSock,
                                  const SOCKADDR_INET *clntAdr,
                                  ULONGLONG id, HANDLE hComPort);

/*
 * Post the next READ, or a WRITE of `bytes` bytes from `data`, which lies in
 * the connection's buffer. The caller owns the connection before and no longer
 * after, whatever happens: if the post fails at once there will be no packet,
 * and the connection has been closed here.
 */
void connection_read(LPPER_HANDLE_DATA handleInfo);
void connection_write(LPPER_HANDLE_DATA handleInfo, char *data, DWORD bytes);

/*
 * End a connection the caller owns, who owns it no longer then.
 * connection_close closes the socket and frees it at once. connection_finish
 * is for a healthy one that the stop ends: the client is told that nothing
 * more comes, and what it still sends is thrown away until it closes too,
 * says nothing for a while, or the drain is over.
 */
void connection_close(LPPER_HANDLE_DATA handleInfo, CLOSE_REASON reason);
void connection_finish(LPPER_HANDLE_DATA handleInfo);

/* Why an operation of a connection the caller owns may have failed. */
CLOSE_REASON connection_failure(const PER_HANDLE_DATA *handleInfo);

/* Tells the peer that no more bytes come (FIN). FALSE if it has gone. */
BOOL connection_shutdown(LPPER_HANDLE_DATA handleInfo);

#endif
