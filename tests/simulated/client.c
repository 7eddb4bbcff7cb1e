/* client.c - the clients, and the user at the keyboard. */
#include "world.h"

/* ------------------------------- what it can ----------------------------- */

static BOOL arrives(const CLIENT *client)
{
    return client->state == AWAY && world.ready && world.listener != NULL
           && world.now >= client->wakeAt;
}

static BOOL sends(const CLIENT *client)
{
    return !client->fin && !client->reset
           && (client->sent < client->total
               || (client->neverStops && client->sent < 4000000u))
           && client->sent - client->read < client->window
           && client->sent - client->arrived < client->room;
}

static BOOL is_done(const CLIENT *client)
{
    return client->sent >= client->total && !client->neverStops;
}

/* It closes its side: after a burst, or once it has everything back. */
static BOOL finishes(const CLIENT *client)
{
    if (client->fin || client->reset)
        return FALSE;
    if (client->finRead)
        return !client->neverStops;
    return is_done(client) && !client->staysSilent
           && (client->halfCloses || client->read == client->sent);
}

static BOOL gives_up(const CLIENT *client)
{
    return !client->reset && client->sent >= client->resetsAt;
}

static BOOL reads(const CLIENT *client)
{
    if (client->serverReset && client->lost)
        return TRUE;
    if (client->read < client->echoed)
        return client->read < client->stopsReading || client->serverReset;
    return client->serverReset || (client->serverFin && !client->finRead);
}

BOOL client_can(const CLIENT *client)
{
    if (client->state != CONNECTED)
        return arrives(client);
    if (world.now < client->wakeAt)
        return FALSE;
    return sends(client) || finishes(client) || gives_up(client)
           || reads(client);
}

/* Returns when the next waiting client goes on. */
TIME client_wakes(void)
{
    TIME next = NEVER, transit = world.scenario.transit;
    int i;

    for (i = 0; i < (int)world.scenario.clients; ++i) {
        const CLIENT *client = &world.clients[i];

        if (client->state != GONE && client->wakeAt > world.now
            && client->wakeAt < next
            && (client->state == CONNECTED
                || (world.ready && world.listener != NULL)))
            next = client->wakeAt;
        if (client->sock != NULL && client->postedAt + transit > world.now
            && client->postedAt + transit < next)
            next = client->postedAt + transit;
    }
    return next;
}

/* ------------------------------- what it does ---------------------------- */

static void arrive(CLIENT *client)
{
    if ((int)world.waiting >= world.listener->backlog)
        blame("#%d is refused: %u wait already", client->number,
              world.waiting);
    client->state = CONNECTED;
    world.backlog[world.waiting++] = client;
    tell("#%d connects", client->number);
}

/* It reads: bytes, the end of file or a reset. */
static void take(CLIENT *client)
{
    unsigned bytes = client->echoed - client->read;

    if ((client->serverReset && client->lost)
        || (bytes == 0 && client->serverReset)) {
        tell("#%d sees a reset", client->number);
        check_client(client);
        client->state = GONE;
    } else if (bytes > 0) {
        if (client->slow)
            bytes = 1 + below(&world.order, bytes);
        client->read += bytes;
        tell("#%d reads %u bytes", client->number, bytes);
        if (client->slow)
            client->wakeAt = world.now + below(&world.order, 200 * MS);
    } else {
        client->finRead = TRUE;
        tell("#%d sees the end of file", client->number);
        check_client(client);
        if (client->slow || client->staysSilent)
            client->wakeAt = world.now + below(&world.order, 2500 * MS);
    }
    if (client->finRead && client->fin)
        client->state = GONE;
}

static void give(CLIENT *client)
{
    unsigned bytes = client->chunk;

    if (client->sent < client->total && bytes > client->total - client->sent)
        bytes = client->total - client->sent;
    client->sent += bytes;
    tell("#%d sends %u bytes", client->number, bytes);
    if (client->slow || client->pause > 0)
        client->wakeAt = world.now + client->pause
                         + below(&world.order, 300 * MS);
    if (client->floods) {  /* others may be late meanwhile */
        world.now += 5 * MS;
        world.stalled += 5 * MS;
    } else if (client->neverStops)
        client->wakeAt = world.now + (50 + below(&world.order, 250)) * MS;
}

void client_step(CLIENT *client)
{
    something_moves(world.now);
    if (client->state == AWAY)
        arrive(client);
    else if (reads(client) && (below(&world.order, 2) || !sends(client)))
        take(client);
    else if (sends(client) && !gives_up(client))
        give(client);
    else if (gives_up(client)) {
        client->reset = TRUE;
        client->state = GONE;
        tell("#%d resets", client->number);
    } else {
        client->fin = TRUE;
        tell("#%d sends its FIN", client->number);
        if (client->finRead)
            client->state = GONE;
    }
}

/* --------------------------------- the user ------------------------------ */

BOOL user_can(void)
{
    const SCENARIO *scenario = &world.scenario;

    if (world.handler == NULL)
        return FALSE;
    return world.now >= world.pressAt
           || (world.pressed == 0 && scenario->early
               && world.steps >= scenario->pressStep
               && scenario->press.seen >= scenario->press.nth);
}

/* The system calls the handler on a new thread. After CTRL_CLOSE_EVENT the
 * process ends when the handler returns, or after five seconds: Microsoft's
 * page on HandlerRoutine. */
unsigned handler_main(void *unused)
{
    BOOL handled;

    clock_acquire(&world.handler);
    handled = world.handler(world.scenario.event);
    if (!handled || world.scenario.event == CTRL_CLOSE_EVENT)
        blame("the console's handler returns, and the process ends");
    return 0;
}

void user_step(void)
{
    static const char *const names[] = {"Ctrl+C", "Ctrl+Break", "closing"};
    const SCENARIO *scenario = &world.scenario;

    if (world.pressed == scenario->presses) {
        if (scenario->event != CTRL_CLOSE_EVENT)
            blame("the user waits for nothing");
        world.pressAt = world.pressedAt[0] + 5000 * MS + 2 * world.stalled;
        /* Twice: after a late sweep, main waits as long again. */
        if (world.failed > 0)
            world.pressAt = NEVER;  /* it may try again for seconds */
        if (world.now >= world.pressAt)
            blame("the console was closed, and five seconds are over");
        return;
    }
    tell("the user: %s", names[scenario->event]);
    world.pressedAt[world.pressed++] = world.now;
    if (scenario->resumes && world.pressed >= 3)
        world.outputStops = FALSE;
    world.pressAt = NEVER;
    if (world.pressed < scenario->presses)
        world.pressAt = world.now
                        + (world.pressed > 1 ? scenario->third
                                             : scenario->second);
    else if (scenario->event == CTRL_CLOSE_EVENT)
        world.pressAt = world.now + 5000 * MS + 2 * world.stalled;
    thread_start("console", handler_main, NULL);
}

/* Presses Ctrl+C again, as the server hangs while nobody reads its output. */
void user_presses_again(void)
{
    SCENARIO *scenario = &world.scenario;

    if (world.pressed < scenario->presses || world.pressed == MAX_PRESSES)
        return;
    scenario->presses = world.pressed + 1;
    world.pressAt = world.now + 3200 * MS;
}
