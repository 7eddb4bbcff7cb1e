/*
 * connection.h - one client: what the completion port hands back for it.
 *
 * These are the chapter's two structures. PER_HANDLE_DATA is the completion key
 * of the connection's socket: it comes back with every packet of that socket.
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
 *     post: another worker may have freed the connection before that post
 *     returns.
 *   - The sweeps cancel operations of connections that they do not own. All
 *     they use of a connection is its registry entry, under a lock
 *     (registry.h).
 */
#pragma once

#include "buffer.h"
#include "echo.h"
#include "options.h"
#include "registry.h"

#define READ  3  /* rwMode, with the chapter's values */
#define WRITE 5

/* What all connections and all threads share. */
typedef struct {
    OPTIONS options;        /* only read once there are threads            */
    STOP stop;
    HANDLE hComPort;
    REGISTRY registry;      /* who is here                                 */
    BUFFERS buffers;        /* what connections borrow                     */
} SERVER;

/*
 * A connection has two of these; at most one is outstanding. There are two
 * because a stop cancels receives and spares sends, and CancelIoEx finds an
 * operation by the address of its OVERLAPPED. With one for both, the cancel
 * meant for a READ could hit the WRITE that a worker has posted meanwhile, and
 * bytes that were received would not be echoed. A connection that discards
 * sends nothing more, so it receives with writeIo, which that cancel does not
 * hit.
 */
typedef struct {
    OVERLAPPED overlapped;  /* must be first                               */
    WSABUF wsaBuf;          /* what is still to be transferred             */
    int rwMode;             /* READ or WRITE: what the operation is        */
} PER_IO_DATA, *LPPER_IO_DATA;

typedef struct PER_HANDLE_DATA {
    SOCKET hClntSock;
    SOCKADDR_INET clntAdr;      /* a SOCKADDR_IN or a SOCKADDR_IN6         */
    ULONGLONG id;               /* 1, 2, ... in the order of accept        */
    ULONGLONG received, sent;   /* bytes                                   */
    SERVER *server;
    BUFFER buffer;              /* READ fills it, WRITE sends from it      */
    ECHO echo;                  /* the service's                           */
    REGISTRY_ENTRY entry;
    PER_IO_DATA readIo, writeIo;
    /* For --inline: the list of its owner (NULL: every operation gives a
     * packet), and its place there. See batch.c. */
    struct PER_HANDLE_DATA **done, *nextDone;
    LPPER_IO_DATA doneIo;
} PER_HANDLE_DATA, *LPPER_HANDLE_DATA;

typedef enum {
    CLOSE_EOF,      /* the client has closed, and has all of its bytes     */
    CLOSE_ERROR,    /* an operation failed: a reset, a dead peer           */
    CLOSE_IDLE,     /* --idle-timeout                                      */
    CLOSE_STOPPED   /* the server stops                                    */
} CLOSE_REASON;

/*
 * Makes a connection of an accepted socket: registers it and associates it with
 * the port (the key is the address of the PER_HANDLE_DATA). Takes over the
 * socket. Returns the connection, which the caller owns until it posts; or
 * closes the socket, prints one line that says why, and returns NULL.
 */
LPPER_HANDLE_DATA connection_open(SERVER *server, SOCKET hClntSock,
                                  const SOCKADDR_INET *clntAdr, ULONGLONG id);

/*
 * Post the next operation: a READ, or a WRITE of `bytes` bytes from `data`, in
 * the connection's buffer. Only the owner calls these, and loses the connection
 * by the call: its packet will come, or has come already; or the post failed
 * and closed it.
 *
 * With --zero-byte-recv connection_read first posts a READ of zero bytes. That
 * is done when there is something to receive, and until then no buffer is
 * locked in memory. Then `announced` asks for a READ of what has come.
 */
void connection_read(LPPER_HANDLE_DATA handleInfo, BOOL announced);
void connection_write(LPPER_HANDLE_DATA handleInfo, char *data, DWORD bytes);

/*
 * End a connection; only the owner calls these, and loses it.
 * connection_close closes the socket and frees the connection at once. After a
 * failure it finds out itself whether that was the stop or the idle timeout.
 * connection_failed is for a packet of an operation that failed. It closes,
 * with two exceptions: if the stop cancelled a READ it finishes, and if a sweep
 * only wanted the buffer of a READ back it posts the next READ.
 * connection_finish is for a healthy one that the stop ends. It tells the
 * client that nothing more comes, and throws away what the client still sends,
 * until the client closes too, is silent for a second, or the drain is over.
 * Call it again after each READ that is thrown away.
 */
void connection_close(LPPER_HANDLE_DATA handleInfo, CLOSE_REASON reason);
void connection_failed(LPPER_HANDLE_DATA handleInfo,
                       const PER_IO_DATA *ioInfo);
void connection_finish(LPPER_HANDLE_DATA handleInfo);

/* Returns "READ" or "WRITE". */
const char *connection_mode(const PER_IO_DATA *ioInfo);
