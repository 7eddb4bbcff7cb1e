/*
 * scenario.c - reads what a life is: options, clients, liberties, faults.
 *
 * A life is some lines of text, up to an empty one. Each line has a kind and
 * words: see lives.py, which writes them. What is not named has its default.
 */
#include "world.h"

typedef struct {
    const char *name;
    size_t offset;
} WORD_PLACE;

#define IN_SCENARIO(name) {#name, offsetof(SCENARIO, name)},
#define IN_CLIENT(name)   {#name, offsetof(CLIENT, name)},
static const WORD_PLACE ofScenario[] = {SCENARIO_WORDS(IN_SCENARIO){NULL, 0}};
static const WORD_PLACE ofClient[] = {CLIENT_WORDS(IN_CLIENT){NULL, 0}};

static SCENARIO *plan;

static const char *next_word(void)
{
    const char *word = strtok(NULL, " \n");

    return word != NULL ? word : "";
}

static unsigned next_number(void)
{
    return (unsigned)strtoul(next_word(), NULL, 10);
}

_Noreturn static void unknown(const char *word)
{
    fprintf(stderr, "simulate: '%s' is no word of a life\n", word);
    exit(2);
}

/* Reads pairs of a name and a number. */
static void read_pairs(const WORD_PLACE *place, void *base)
{
    const char *name;
    size_t i;

    while (*(name = next_word()) != '\0') {
        for (i = 0; place[i].name == NULL || strcmp(place[i].name, name); ++i)
            if (place[i].name == NULL)
                unknown(name);
        *(uint64_t *)(void *)((char *)base + place[i].offset) = strtoull(
            next_word(), NULL, 10);
    }
}

static CALL next_call(void)
{
    const char *name = next_word();
    int call = 0;

    while (strcmp(call_name((CALL)call), name) != 0)
        if (++call == CALL_COUNT)
            unknown(name);
    return (CALL)call;
}

static void read_liberties(void)
{
#define LIBERTY_BIT(name) +(strcmp(word, #name) == 0) * (1u << MAY_##name)
    const char *word;

    while (*(word = next_word()) != '\0') {
        if ((0 LIBERTIES(LIBERTY_BIT)) == 0)
            unknown(word);
        plan->liberties |= 0 LIBERTIES(LIBERTY_BIT);
    }
}

static void read_client(void)
{
    CLIENT *client = &world.clients[plan->clients++];

    client->number = plan->clients;
    client->window = client->stopsReading = client->resetsAt = UINT32_MAX;
    client->chunk = client->total = 100;
    client->room = 8192;
    read_pairs(ofClient, client);
}

static PLACE next_place(void)
{
    PLACE place = {.nth = 0};

    snprintf(place.who, sizeof place.who, "%s", next_word());
    place.call = next_call();
    place.nth = next_number();
    return place;
}

static void read_fault(void)
{
    plan->faults[plan->faultCount].call = next_call();
    plan->faults[plan->faultCount].first = next_number();
    plan->faults[plan->faultCount].every = next_number();
    plan->faults[plan->faultCount++].pick = next_number();
}

static void read_line(char *line)
{
    const char *kind = strtok(line, " \n");
    size_t i;

    if (strcmp(kind, "life") == 0)
        snprintf(plan->name, sizeof plan->name, "%s", strtok(NULL, "\n"));
    else if (strcmp(kind, "options") == 0)
        while ((plan->words[plan->count] = strtok(NULL, " \n")) != NULL)
            ++plan->count;
    else if (strcmp(kind, "set") == 0)
        read_pairs(ofScenario, plan);
    else if (strcmp(kind, "client") == 0)
        read_client();
    else if (strcmp(kind, "may") == 0)
        read_liberties();
    else if (strcmp(kind, "fault") == 0)
        read_fault();
    else if (strcmp(kind, "hold") == 0)
        plan->holds[plan->holdCount++] = (HOLD){next_place(), next_place()};
    else if (strcmp(kind, "press") == 0)
        plan->press = next_place();
    else if (strcmp(kind, "changes") == 0)
        for (i = 0; i < sizeof plan->changes / sizeof *plan->changes; ++i)
            plan->changes[i] = next_number();
    else
        unknown(kind);
}

BOOL scenario_read(void)
{
    static char options[1000];
    char line[1000];
    BOOL found = FALSE;

    plan = &world.scenario;
    *plan = (SCENARIO){.cpus = 2,
                       .concurrency = 2,
                       .drain = 5,
                       .lent = 64,
                       .presses = 1,
                       .stay = 50,
                       .third = 3200 * MS};
    while (fgets(line, sizeof line, stdin) != NULL && *line != '\n') {
        char *kept = strncmp(line, "options ", 8) == 0 ? options : line;

        if (kept == options)
            strcpy(options, line);
        read_line(kept);
        found = TRUE;
    }
    return found;
}

/* ---------------------------------- faults ------------------------------- */

static const DWORD codes[CALL_COUNT][3] = {
#define CALL_CODES(name, a, b, c, kind) {a, b, c},
    CALLS(CALL_CODES)};

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
