/* scenario.c - what a seed means: options, clients, the user, liberties. */
#include "world.h"

static SCENARIO *plan;
static RANDOM *chance;

static unsigned roll(unsigned sides) { return below(chance, sides); }

static void add(const char *name, unsigned value)
{
    snprintf(plan->words[plan->count++], sizeof *plan->words, "%s", name);
    if (value != UINT32_MAX)
        snprintf(plan->words[plan->count++], sizeof *plan->words, "%u", value);
}

#define NO_VALUE UINT32_MAX

/* --------------------------------- options ------------------------------- */

/* Adds an option one time in `oneIn`, with one of its values. */
static unsigned choose(const char *name, unsigned oneIn, unsigned preset,
                       const unsigned *values, size_t count)
{
    unsigned value = values[roll((unsigned)count)];

    if (roll(oneIn) != 0)
        return preset;
    add(name, value);
    return value;
}
#define CHOOSE(name, oneIn, preset, ...)                         \
    choose(name, oneIn, preset, (const unsigned[]){__VA_ARGS__}, \
           sizeof((const unsigned[]){__VA_ARGS__}) / sizeof(unsigned))

static void choose_options(void)
{
    static const char *const work[] = {"1", "5:spin", "20:sleep", "2:spin"};

    plan->cpus = 1 + roll(4);
    plan->workers = CHOOSE("--workers", 3, plan->cpus, 1, 2, 3, 4);
    plan->concurrency = CHOOSE("--concurrency", 4, plan->cpus, 1, 2, 3);
    CHOOSE("--batch", 3, 1, 2, 3, 16, 256);
    CHOOSE("--inline", 3, 0, 1, 2, 7, 1000);
    CHOOSE("--post", 8, 0, 1, 2, 5);
    plan->limit = CHOOSE("--max-connections", 4, 0, 1, 2, 3);
    plan->idle = CHOOSE("--idle-timeout", 4, 0, 1, 2, 3);
    plan->drain = CHOOSE("--drain-timeout", 2, 5, 0, 1, 2, 3);
    CHOOSE("--buffer", plan->idle != 0 ? 2 : 4, 0, 4096, 5000, 16384, 1048576,
           1048576);
    plan->lent = CHOOSE("--buffer-total", 3, 64, 0, 1, 2);
    CHOOSE("--zero-byte-recv", 3, 0, NO_VALUE);
    plan->trace = CHOOSE("--trace=file", 4, 0, NO_VALUE) != 0;
    if (roll(12) == 0) {
        add("--work", NO_VALUE);
        add(work[roll(4)], NO_VALUE);
    }
    if (CHOOSE("-v", 5, 0, NO_VALUE) == 0 && !plan->trace)
        plan->quiet = CHOOSE("-q", 40, 0, NO_VALUE) != 0;
    if (CHOOSE("--bind", 12, 0, NO_VALUE) != 0)
        add(roll(2) ? "127.0.0.1" : "::1", NO_VALUE);
    else
        plan->noIpv6 = roll(6) == 0;
}

/* Chooses a command line with which the server only prints, or refuses it. */
static void choose_wrong(void)
{
    /* clang-format off */
    static const struct { const char *word, *value; int status; } wrong[] = {
        {"--help", NULL, 0}, {"-V", NULL, 0}, {"-q", "-h", 0},
        {"--workers", "0", 2}, {"--workers", "1x", 2}, {"-w", NULL, 2},
        {"--bind", "nonsense", 2}, {"--bind", "", 2},
        {"--bind", "224.0.0.1", 2}, {"--bind", "ff02::1", 2},
        {"--bind", "255.255.255.255", 2}, {"--work", "3:run", 2},
        {"--trace", "", 2}, {"--nothing", NULL, 2}, {"-v=1", NULL, 2},
        {"--verbose=1", NULL, 2}, {"9191", NULL, 2}, {"70000", NULL, 2},
        {"--buffer=1", NULL, 2}};
    /* clang-format on */
    unsigned i = roll(sizeof wrong / sizeof *wrong);

    plan->wrong = TRUE;
    plan->expected = wrong[i].status;
    add(wrong[i].word, NO_VALUE);
    if (wrong[i].value != NULL)
        add(wrong[i].value, NO_VALUE);
}

/* --------------------------------- clients ------------------------------- */

static void choose_client(CLIENT *client, unsigned kind)
{
    client->window = UINT32_MAX;
    client->stopsReading = client->resetsAt = UINT32_MAX;
    client->room = AMONG(chance, 1000, 8192, 20000, 70000, 100000);
    client->chunk = AMONG(chance, 1, 100, 4096, 5000);
    client->total = client->chunk * roll(8);
    if (roll(3) == 0)
        client->wakeAt = roll(2000) * MS;
    switch (kind) {
    case 0: /* ping-pong */
        client->window = client->chunk;
        client->slow = roll(4) == 0;
        break;
    case 1: /* a stream */
        client->chunk = AMONG(chance, 3000, 20000, 65536, 200000);
        client->total = client->chunk * (1 + roll(6));
        break;
    case 2: /* a burst, then a half-close */
        client->halfCloses = TRUE;
        client->chunk = AMONG(chance, 1, 10000, 50000);
        client->total = client->chunk * (1 + roll(3));
        break;
    case 3: /* a reset */
        client->total += 2;
        client->resetsAt = roll(client->total);
        break;
    case 4: /* it stops reading */
        client->chunk = AMONG(chance, 20000, 100000);
        client->total = 20000 * (1 + roll(20));
        client->stopsReading = roll(2) ? 0 : roll(client->total);
        break;
    case 5: /* slow */
        client->slow = TRUE;
        break;
    case 6: /* comes and goes */
        client->total = client->chunk = roll(2);
        client->halfCloses = roll(2) != 0;
        break;
    case 7: /* never stops sending */
        client->neverStops = TRUE;
        client->floods = roll(2) != 0 && !plan->trace;
        client->chunk = AMONG(chance, 1000, 10000);
        if (roll(2) == 0)
            client->stopsReading = roll(30000);
        break;
    default: /* silent, and stays */
        client->staysSilent = TRUE;
        client->slow = roll(4) == 0;
        break;
    }
    if (client->chunk == 0)
        client->chunk = 1;
    /* Limit the steps, so that a life takes a millisecond or two. */
    if (client->total > 400000)
        client->total = 400000;
    if (client->total > 24 * client->room)
        client->total = 24 * client->room;
    if (client->neverStops && client->chunk > client->room)
        client->chunk = client->room;
}

static void choose_clients(void)
{
    int i;

    plan->clients = 1 + (int)roll(roll(8) == 0 ? MAX_CLIENTS : 5);
    for (i = 0; i < plan->clients; ++i) {
        unsigned kind = roll(10);

        choose_client(&world.clients[i], kind);
        if (world.clients[i].neverStops)
            plan->early = TRUE;
    }
}

/* ---------------------------- user and scheduler ------------------------- */

static void choose_user(void)
{
    plan->presses = roll(3) == 0 ? 1 + (int)roll(3) : 1;
    plan->early = plan->early || roll(world.faulty ? 2 : 3) == 0;
    plan->pressAt = roll(AMONG(chance, 100, 150, 300, 3000));
    plan->patience = roll(2) ? 0 : (roll(4000) + plan->idle * 3000) * MS;
    plan->pause[0] = roll(2000) * MS;
    plan->pause[1] = (3100 + roll(1000)) * MS;
    plan->event = roll(8) == 0   ? CTRL_CLOSE_EVENT
                  : roll(4) == 0 ? CTRL_BREAK_EVENT
                                 : CTRL_C_EVENT;
    if (plan->event == CTRL_CLOSE_EVENT)
        plan->presses = 1;
    plan->blocksForEver = roll(25) == 0 && !plan->wrong
                          && plan->event != CTRL_CLOSE_EVENT;
    plan->resumes = roll(2) != 0;  /* with the third Ctrl+C */
    if (plan->blocksForEver) {
        plan->presses = 3;
        plan->early = TRUE;
    }
    plan->hasConsole = roll(3) == 0 || plan->presses == 3;
    plan->quickEdit = plan->hasConsole && roll(3) != 0;
    world.consoleMode = plan->quickEdit ? 0x40 : 0;
}

static void choose_order(void)
{
    size_t i;

    plan->priorities = roll(2) != 0;
    plan->eager = roll(5) == 0;
    for (i = 0; i < sizeof plan->changes / sizeof *plan->changes; ++i)
        plan->changes[i] = 1 + roll(AMONG(chance, 100, 500, 3000));
    plan->stay = AMONG(chance, 0, 50, 90);
    plan->blocks = AMONG(chance, 4, 40, 400);
    for (i = 0; i < LIBERTY_COUNT; ++i)
        plan->liberties |= (roll(4) != 0) << i;
    if (roll(5) == 0) /* nothing is late, and the checks need no slack */
        plan->liberties &= ~(1u << MAY_stall | 1u << MAY_freeze);
    if ((plan->liberties >> MAY_preempt & 1) == 0)
        plan->blocks = 0x40000000;
    for (i = 0; i < sizeof world.priorities / sizeof *world.priorities; ++i)
        world.priorities[i] = 0x40000000
                              + (unsigned)(draw(&world.order) >> 36);
    world.lowest = 0x40000000;
    world.untilPreempted = 1 + below(&world.order, plan->blocks);
}

/* ---------------------------------- faults ------------------------------- */

static const DWORD codes[CALL_COUNT][3] = {
#define CALL_CODES(name, a, b, c, kind) {a, b, c},
    CALLS(CALL_CODES)};

static void choose_faults(void)
{
    int i;

    plan->faultCount = 1 + (int)roll(MAX_FAULTS);
    for (i = 0; i < plan->faultCount; ++i) {
        FAULT *fault = &plan->faults[i];

        do
            fault->call = (CALL)roll(CALL_COUNT);
        while (codes[fault->call][0] == 0);
        if (i == 0 && roll(4) == 0)  /* it fails while the server listens */
            fault->call = CALL__beginthreadex;
        fault->first = 1 + roll(AMONG(chance, 1, 4, 40));
        fault->every = roll(2) ? 0 : 1 + roll(3);
        fault->pick = roll(3);
    }
}

DWORD fault_code(CALL call)
{
    unsigned count = world.calls[call];
    int i;

    for (i = 0; i < world.scenario.faultCount; ++i) {
        const FAULT *fault = &world.scenario.faults[i];

        if (fault->call == call && count >= fault->first
            && (call != CALL_accept || world.failures[call] < 40)
            && (count == fault->first
                || (fault->every != 0
                    && (count - fault->first) % fault->every == 0))) {
            ++world.failures[call];
            ++world.failed;
            tell("%s fails with %u", call_name(call),
                 codes[call][fault->pick]);
            return codes[call][fault->pick];
        }
    }
    return 0;
}

/* ---------------------------------- all of it ---------------------------- */

void scenario_make(void)
{
    plan = &world.scenario;
    chance = &world.plan;
    plan->count = 0;
    add("iocp_echo_server", NO_VALUE);
    if (roll(50) != 0)
        add(roll(8) ? "9190" : "0", NO_VALUE);
    else
        plan->wrong = TRUE, plan->expected = 2;
    choose_options();
    if (!plan->wrong && roll(50) == 0)
        choose_wrong();
    choose_clients();
    choose_user();
    choose_order();
    if (world.faulty)
        choose_faults();
    world.bootedAt = roll(2) ? 0xffffffffu - roll(20000) : roll(1000000);
    world.pressAt = NEVER;
}
