/*
 * checks.c - what must hold, and what is excused.
 *
 * Each excuse may hide a mistake, so all of them are here. Most are fields,
 * each set for one reason:
 *
 *   drain_is_over   the server need not send what it received any more
 *   everIdle        an operation's idle timeout passed: the sweep may have
 *                   looked then, and cancelled the operation posted after it
 *   everLent        the same for a READ that kept a larger buffer
 *   failed          a WRITE of the client failed, or the client reset
 *   faulted         a call failed on purpose, and cost this client
 *   lingered        the client was silent for a second after the server's FIN
 *   resetArrived    the client is gone
 *   not accepted    the client still waited when the listener closed
 */
#include "world.h"

_Noreturn void _exit(int status);

#define EARLY   (40 * MS) /* of two clocks that tick                      */
#define SLACK   (4000 * MS)
#define LINGER  (1000 * MS) /* registry.c                                   */
#define SILENCE (1000 * MS) /* connection.c                               */

/* ------------------------------- what is said ---------------------------- */

const char *call_name(CALL call)
{
#define CALL_TEXT(name, a, b, c, kind) #name,
    static const char *const names[] = {CALLS(CALL_TEXT)};

    return names[call];
}

void tell(const char *format, ...)
{
    const THREAD *thread = world.running;
    char who[32] = "";
    va_list args;

    if (!world.scenario.story)
        return;
    if (thread != NULL)
        snprintf(who, sizeof who, "%s %d", thread->role, thread->number);
    printf("%6u %10.3f ms  %-10s ", world.steps, (double)world.now / MS, who);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

_Noreturn void blame(const char *format, ...)
{
    const CLIENT *client;
    va_list args;

    printf("%s: ", world.scenario.name);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n  after %u steps, at %.3f ms, in %s%s%s\n", world.steps,
           (double)world.now / MS,
           world.running != NULL ? call_name(world.running->call) : "no call",
           world.errors ? "; last error: " : "", world.lastError);
    for (client = world.clients;
         client < world.clients + world.scenario.clients; ++client)
        printf("  #%d has sent %u bytes and read %u of %u\n", client->number,
               client->sent, client->read, client->echoed);
    fflush(stdout);
    _exit(1);
}

/* ------------------------------- excuses --------------------------------- */

static BOOL stopping(void)
{
    return world.pressed > 0 || (world.ready && world.listener == NULL);
}

static BOOL drain_is_over(void)
{
    TIME drain = (TIME)world.scenario.drain * 1000 * MS;
    TIME began = world.lost ? world.closedAt : world.pressedAt[0];

    if (!stopping())
        return FALSE;
    if (world.scenario.event == CTRL_CLOSE_EVENT && drain > 2500 * MS)
        drain = 2500 * MS;
    return world.pressed > !world.lost || world.now + EARLY >= began + drain;
}

/* Each call that failed on purpose may cost one client, whichever. */
static BOOL forgiven(CLIENT *client)
{
    if (!client->faulted && world.forgiven < world.failed) {
        ++world.forgiven;
        client->faulted = TRUE;
    }
    return client->faulted;
}

static BOOL excused(CLIENT *client)
{
    return client->everIdle || client->failed || client->resetArrived
           || drain_is_over() || forgiven(client);
}

static TIME time_allowed(const CLIENT *client)
{
    return (TIME)client->timeouts * world.scenario.idle * 1000 * MS;
}

/* A sweep that is `late` may still act on an earlier operation's deadline. */
static void note_idle(CLIENT *client, TIME late)
{
    if (world.scenario.idle != 0
        && world.now + EARLY + late >= client->ownedAt + time_allowed(client))
        client->everIdle = TRUE;
}

/* The same for a READ that has kept a larger buffer. */
static void note_lent(CLIENT *client, TIME late)
{
    if (client->lent && world.now + EARLY + late >= client->ownedAt + SILENCE)
        client->everLent = TRUE;
}

/* The client has been silent for a second after the server's FIN. */
void note_silent(CLIENT *client)
{
    if (client->serverFin && world.now + EARLY >= client->silentSince + LINGER)
        client->lingered = TRUE;
}

/* ------------------------- one operation, one client --------------------- */

/* A new operation: was the one before it idle? */
void check_post(CLIENT *client, DWORD timeouts, BOOL lent)
{
    note_idle(client, 0);
    note_lent(client, 0);
    client->lent = lent;
    client->ownedAt = client->takenAt;
    client->postedAt = world.now;
    client->silentSince = client->cameAt;  /* while discarding it goes on */
    client->timeouts = timeouts;
}

/* A worker has the result. */
void check_taken(const PACKET *packet)
{
    CLIENT *client = packet->client;
    const OP *op = &packet->op;

    tell("has the %s of #%d: %u bytes, code %u", op->writes ? "WRITE" : "READ",
         client->number, op->moved, packet->code);
    client->takenAt = world.now;
    note_silent(client);
    something_moves(world.now);
    client->cameAt = op->moved > 0 ? world.now : client->silentSince;
    if (packet->code != 0)
        client->failed = client->failed || op->writes || client->resetArrived;
    else if (op->writes)
        client->written += op->moved;
    else if (client->serverFin)
        client->discarded += op->moved;
    else
        client->received += op->moved;
    if (packet->code == 0 && !op->writes && op->size > 0 && op->moved == 0)
        client->finTaken = TRUE;
}

void check_cancel(CLIENT *client, const OP *op)
{
    note_idle(client, world.stalled);
    if (client->everIdle)
        return;
    note_lent(client, world.stalled);
    if (!stopping() && (op->writes || !client->everLent))
        blame("#%d is cancelled, and is not idle", client->number);
    if (op->writes && !drain_is_over())
        blame("#%d: a WRITE is cancelled while the drain lasts",
              client->number);
}

void check_shutdown(CLIENT *client)
{
    if (client->received != client->echoed && !excused(client))
        blame("#%d: the FIN comes before %u bytes that were received",
              client->number, client->received - client->echoed);
    client->silentSince = client->cameAt = world.now;
}

void check_close(const OBJECT *sock)
{
    CLIENT *client = sock->client;
    const OP *op;

    for (op = sock->ops; op < sock->ops + MAX_OPS; ++op)
        if (op->overlapped != NULL)
            blame("#%d is closed with an operation outstanding",
                  client->number);
    note_idle(client, 0);
    note_silent(client);
    if (client->received != client->echoed && !excused(client))
        blame("#%d is closed, and %u bytes of it were received and not sent",
              client->number, client->received - client->echoed);
    if (!stopping() && !client->finTaken && !excused(client))
        blame("#%d is closed, and was healthy", client->number);
    if (stopping() && !client->finTaken && !client->lingered
        && !excused(client))
        blame("#%d is closed before its FIN and a second of silence",
              client->number);
}

/* The client sees its end. */
void check_client(CLIENT *client)
{
    BOOL reset = client->serverReset
                 && (client->lost || client->read == client->echoed);

    if (!client->accepted)
        return;
    if (!reset && !stopping() && client->read != client->sent
        && !excused(client))
        blame("#%d sees the end of file after %u of %u bytes", client->number,
              client->read, client->sent);
    if (reset && !stopping() && !excused(client))
        blame("#%d is reset", client->number);
    if (reset && client->lost && client->read < client->echoed
        && !client->lingered && !excused(client))
        blame("#%d is reset, and loses %u bytes that were sent",
              client->number, client->echoed - client->read);
}

/* --------------------------------- in time ------------------------------- */

static unsigned open_sockets(void)
{
    unsigned i, count = 0;

    for (i = 0; i < MAX_OBJECTS; ++i)
        count += world.objects[i].kind == SOCKET_HANDLE;
    return count;
}

/* Checks the world when nothing moves any more. */
void check_quiet(void)
{
    const SCENARIO *scenario = &world.scenario;
    unsigned open = open_sockets();
    int i;

    if (stopping() || world.outputStops || !world.ready)
        return;
    if (scenario->limit != 0 && open > scenario->limit)
        blame("%u connections, and %u are allowed", open, scenario->limit);
    for (i = 0; i < MAX_CLIENTS; ++i) {
        CLIENT *client = &world.clients[i];
        BOOL reads = client->stopsReading > client->sent;

        if (client->state != CONNECTED
            || (!client->accepted && scenario->limit != 0
                && open >= scenario->limit))
            continue;
        if (!client->accepted && !forgiven(client))
            blame("#%d waits, and is not accepted", i + 1);
        if (reads && client->read < client->sent && !client->everIdle
            && !forgiven(client))
            blame("#%d waits for %u bytes of its echo", i + 1,
                  client->sent - client->read);
        if (reads && client->fin && !client->finRead && !forgiven(client))
            blame("#%d waits for the end of file", i + 1);
    }
}

void check_time(void)
{
    TIME slack = SLACK + 2 * world.stalled;
    int i;

    if (world.scenario.blocksForEver || world.failed > 0)
        return;
    if (world.pressed > 0
        && world.now > world.pressedAt[0] + slack
                           + (TIME)world.scenario.drain * 1000 * MS)
        blame("the stop takes longer than the drain");
    for (i = 0; i < (int)world.scenario.clients && world.scenario.idle != 0;
         ++i) {
        const CLIENT *client = &world.clients[i];

        if (client->sock != NULL && !stopping()
            && world.now > client->postedAt + time_allowed(client) + slack)
            blame("#%d is idle, and is not closed", i + 1);
    }
}

/* ---------------------------------- lines -------------------------------- */

#define LETTERS "abcdefghijklmnopqrstuvwxyz"

static BOOL is_event(const char *text)
{
    text += strspn(text, LETTERS);
    while (*text == ' ') {
        text += 1 + strspn(text + 1, LETTERS "-");
        if (*text != '=' || text[1] <= ' ')
            return FALSE;
        text += strcspn(text, " ");
    }
    return *text == '\0';
}

static void read_totals(const char *line)
{
    unsigned long long *t = world.totals, completions;

    if (strncmp(line, "ready ", 6) == 0)
        world.ready = TRUE;
    if (sscanf(line, "worker id=%*u completions=%llu", &completions) == 1)
        world.completions += completions;
    if (sscanf(line,
               "stopped connections=%llu received=%llu sent=%llu failed=%llu "
               "live=%llu",
               &t[0], &t[1], &t[2], &t[3], &t[4])
        == 5)
        world.stopped = TRUE;
}

void check_line(BOOL error, const char *text, DWORD size)
{
    static const char name[] = "iocp_echo_server: ";
    char line[4200];
    DWORD i;

    for (i = 0; i + 1 < size; ++i)
        if (text[i] < ' ' || text[i] > '~')
            blame("a line with what is not printable ASCII");
    if (size == 0 || size > sizeof line || text[size - 1] != '\n')
        blame("what is written is not one line");
    memcpy(line, text, size - 1);
    line[size - 1] = '\0';
    tell("%s%s", error ? "! " : "> ", line);
    ++world.lines;
    if (error) {
        if (strncmp(line, name, sizeof name - 1) != 0)
            blame("an error line without the program's name: %s", line);
        snprintf(world.lastError, sizeof world.lastError, "%s",
                 line + sizeof name - 1);
        ++world.errors;
        if (world.failed == 0 && !world.scenario.wrong
            && strstr(line, "this client only") == NULL)
            blame("it says: %s", line);
        return;
    }
    if (!is_event(line) && !world.scenario.wrong)
        blame("no event with its keys: %s", line);
    read_totals(line);
}

/* --------------------------------- the end ------------------------------- */

static void check_quick_edit(void)
{
    if (world.consoleMode & 0x40 && !world.scenario.quickEdit)
        blame("QuickEdit is on");
    if (world.scenario.quickEdit && !(world.consoleMode & 0x40)
        && world.failures[CALL_SetConsoleMode] == 0)
        blame("QuickEdit is left off");
}

/* The server never closes the stop's event, because a handler may set it while
 * the process ends; nor does it close the console's handle. */
static void check_left(void)
{
    unsigned i, events = 0, sockets = open_sockets();

    for (i = 2; i < MAX_OBJECTS; ++i) {
        events += world.objects[i].kind == EVENT;
        if ((world.objects[i].kind != NOTHING && world.objects[i].kind != EVENT
             && world.objects[i].kind != CONSOLE)
            || events > 1 || sockets > 0)
            if (world.failures[CALL_CloseHandle] == 0)
                blame("a handle is left at the end (kind %d)",
                      world.objects[i].kind);
    }
    if (world.blockCount > 0 && world.failures[CALL_VirtualFree] == 0)
        blame("%u blocks of memory are left", world.blockCount);
    for (i = 1; i < MAX_THREADS; ++i)
        if ((world.threads[i].state == READY
             || world.threads[i].state == WAITING)
            && strcmp(world.threads[i].role, "console") != 0)
            blame("a thread is left at the end");
    if (world.winsock && world.failures[CALL_WSACleanup] == 0)
        blame("no WSACleanup");
    check_quick_edit();
}

static void check_totals(void)
{
    unsigned long long received = 0, sent = 0;
    int i;

    for (i = 0; i < MAX_CLIENTS; ++i) {
        received += world.clients[i].received;
        sent += world.clients[i].written;
    }
    if (world.scenario.quiet || world.failures[CALL_WriteFile] > 0)
        return;
    if (!world.stopped)
        blame("no totals");
    if (world.failed == 0 && world.totals[0] != world.accepted)
        blame("%llu connections reported, there were %u", world.totals[0],
              world.accepted);
    if (world.totals[4] != 0)
        blame("connections are left: %llu", world.totals[4]);
    if (world.failures[CALL_WSAGetOverlappedResult] > 0)
        return;
    if (world.totals[1] != received || world.totals[2] != sent)
        blame("reports %llu bytes received and %llu sent; there were %llu "
              "and %llu",
              world.totals[1], world.totals[2], received, sent);
    if (world.completions != world.taken)
        blame("%llu completions reported, there were %llu", world.completions,
              world.taken);
}

/* Whether a call of this kind has failed. E: the server can't run without it,
 * so it ends in order. I: such a call can't fail on a healthy system, so the
 * server ends at once. */
static BOOL one_failed(char kind)
{
#define CALL_KIND(name, a, b, c, kind) #kind
    static const char kinds[] = CALLS(CALL_KIND);
    int i;

    for (i = 0; i < CALL_COUNT; ++i)
        if (kinds[i] == kind && world.failures[i] > 0)
            return TRUE;
    return FALSE;
}

void check_end(int status)
{
    if (world.scenario.wrong) {
        if (status != (int)world.scenario.expected && world.failed == 0)
            blame("status %d for a command line", status);
        check_left();
        return;
    }
    if (status == 1 && one_failed('I'))
        return;
    /* The stop took long, and a later Ctrl+C killed the process. */
    if (status == 1 && world.calls[CALL_TerminateProcess] > 0
        && world.pressed > 0 && world.now > world.pressedAt[0] + 2900 * MS) {
        check_quick_edit();
        return;
    }
    if (status == 2 && world.failures[CALL_getaddrinfo] > 0)
        return;
    if (status != 0 && (status != 1 || !one_failed('E')))
        blame("status %d", status);
    if (status != 0 && world.errors == 0
        && world.failures[CALL_WriteFile] == 0)
        blame("it does not say why it ends");
    check_left();
    if (status != 0)
        return;
    check_totals();
    fputs("whole", traces);
}
