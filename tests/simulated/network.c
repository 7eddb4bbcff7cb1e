/*
 * network.c - what the kernel and the wire do between two calls.
 *
 * Bytes are counted, not kept: the place in a client's stream gives a byte its
 * value. What the server sends is compared when it leaves the server's buffer.
 */
#include "world.h"

#define PERIOD 65521u /* a prime: no two places of a buffer are alike */

static unsigned char pattern[2 * PERIOD];

static const unsigned char *bytes_at(const CLIENT *client, unsigned place)
{
    RANDOM random = 1;
    size_t i;

    if (pattern[0] == 0)
        for (i = 0; i < PERIOD; ++i)
            pattern[i] = pattern[i + PERIOD] =
                (unsigned char)(1 + draw(&random) % 255);
    return pattern + (place + (unsigned)client->number * 1009u) % PERIOD;
}

/* Compares bytes that leave the server with its client's, or fills in those that
 * come. */
static void pass(CLIENT *client, char *data, unsigned place, DWORD bytes,
                 BOOL leave)
{
    DWORD piece, done;

    for (done = 0; done < bytes; done += piece) {
        const unsigned char *its = bytes_at(client, place + done);

        piece = min(bytes - done, PERIOD);
        if (!leave)
            memcpy(data + done, its, piece);
        else if (memcmp(data + done, its, piece) != 0)
            blame("#%d gets bytes that it did not send, or not there",
                  client->number);
    }
}

/* -------------------------------- moving --------------------------------- */

/* Moves what it can now. Returns how much. A receive may be cut anywhere. A
 * send that is done at once takes all or nothing, but may be cut as well: "the
 * number of bytes sent can be less", says Microsoft's page on WSASend. */
DWORD op_move(CLIENT *client, OP *op, BOOL atOnce)
{
    unsigned there = op->writes
                         ? client->room - (client->echoed - client->read)
                         : client->arrived - client->taken;
    unsigned *place = op->writes ? &client->echoed : &client->taken;
    DWORD bytes = op->size - op->moved;
    char *data = op->buffer + op->moved;

    if (bytes > there)
        bytes = there;
    if (bytes == 0 || (op->writes && !op->moved && atOnce && bytes < op->size))
        return 0;
    if (bytes > 1
        && (op->writes ? !atOnce && may(MAY_cut, 3) : may(MAY_cut, 3)))
        bytes = 1 + below(&world.liberty, bytes);
    kernel_gives(data, bytes);
    pass(client, data, *place, bytes, op->writes);
    kernel_takes(op->buffer, op->size);
    op->moved += bytes;
    *place += bytes;
    return bytes;
}

/* Resets a connection: the server has closed or is gone, and reads no more. */
void connection_reset(CLIENT *client)
{
    if (client->serverReset || client->state == GONE)
        return;
    client->serverReset = TRUE;
    client->lost = may(MAY_destroy, 2);
    tell("resets #%d%s", client->number,
         client->lost ? ", and what is on its way is lost" : "");
}

/* ------------------------- one step of a connection ---------------------- */

static OP *pending(const CLIENT *client, BOOL writes)
{
    OBJECT *sock = client->sock;
    OP *op;

    for (op = sock != NULL ? sock->ops : NULL;
         op != NULL && op < sock->ops + MAX_OPS; ++op)
        if (op->overlapped != NULL && op->writes == writes)
            return op;
    return NULL;
}

static BOOL carries(const CLIENT *client)
{
    if (client->state == AWAY || client->resetArrived)
        return FALSE;
    return client->reset
           || (client->fin && !client->finArrived
               && client->sent == client->arrived)
           || (client->sent > client->arrived
               && client->arrived - client->taken < client->room);
}

static BOOL read_can(const CLIENT *client)
{
    const OP *op = pending(client, FALSE);

    return op != NULL
           && (op->cancelled || client->resetArrived
               || client->arrived > client->taken || client->finArrived);
}

static BOOL write_can(const CLIENT *client)
{
    const OP *op = pending(client, TRUE);

    return op != NULL && world.now >= client->postedAt + world.scenario.transit
           && (op->cancelled || client->resetArrived
               || client->echoed - client->read < client->room);
}

BOOL network_can(const CLIENT *client)
{
    return carries(client) || read_can(client) || write_can(client);
}

/* Brings some bytes, the FIN or the reset to the server. */
static void carry(CLIENT *client)
{
    unsigned bytes = client->sent - client->arrived;
    unsigned room = client->room - (client->arrived - client->taken);

    if (client->reset) {
        client->resetArrived = TRUE;
        tell("the reset of #%d arrives", client->number);
    } else if (bytes > 0 && room > 0) {
        bytes = bytes < room ? bytes : room;
        if (may(MAY_cut, 3))
            bytes = 1 + below(&world.liberty, bytes);
        client->arrived += bytes;
        tell("%u bytes of #%d arrive", bytes, client->number);
        if (client->closed)
            connection_reset(client);
    } else if (bytes == 0) {
        client->finArrived = TRUE;
        tell("the FIN of #%d arrives", client->number);
    }
}

/* Moves something. A cancelled operation may end instead. */
static void op_step(CLIENT *client, OP *op)
{
    if (client->resetArrived)
        op_ends(client->sock, op, WSAECONNRESET);
    else if (op->cancelled && !may(MAY_late_cancel, 2))
        op_ends(client->sock, op, ERROR_OPERATION_ABORTED);
    else if (op_move(client, op, FALSE) == 0 && op->cancelled && op->writes)
        op_ends(client->sock, op, ERROR_OPERATION_ABORTED);
    else if (!op->writes
             && (op->moved > 0 || client->finArrived
                 || (op->size == 0 && client->arrived > client->taken)))
        op_ends(client->sock, op, 0);
    else if (!op->writes)
        op_ends(client->sock, op, ERROR_OPERATION_ABORTED);
    else if (op->moved == op->size
             || (op->moved > 0 && may(MAY_short_send, 6)))
        op_ends(client->sock, op, 0);
}

void network_step(CLIENT *client)
{
    BOOL can[3];
    unsigned which = below(&world.order, 3), i;

    something_moves(world.now);
    can[0] = carries(client);
    can[1] = read_can(client);
    can[2] = write_can(client);
    for (i = 0; i < 3 && !can[which]; ++i)
        which = (which + 1) % 3;
    if (which == 0)
        carry(client);
    else
        op_step(client, pending(client, which == 2));
}
