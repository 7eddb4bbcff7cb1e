/*
 * lesson.c - the scenario of a lesson (scripts/demo.py).
 *
 * It is the same in every run, and takes no liberty: the port does what
 * Microsoft documents as the rule, and no more. Threads and clients act in
 * turn. Each client sends a message when it has its last one back and its
 * moment has come, and closes when it has all of them back.
 */
#include "world.h"

#define MESSAGE 9u   /* bytes */
#define TRANSIT 1000 /* us, of an echo: by then its worker waits again */

static void make_client(CLIENT *client, unsigned turns, TIME pause, TIME gap)
{
    client->chunk = client->window = MESSAGE;
    client->total = MESSAGE * turns;
    client->room = 8192;
    client->stopsReading = client->resetsAt = UINT32_MAX;
    client->pause = pause;
    client->wakeAt = gap * (TIME)client_number(client);
}

/* Puts the words of the command line into the scenario. */
static void add_words(SCENARIO *plan, char *line)
{
    char *word;

    for (word = strtok(line, " "); word != NULL; word = strtok(NULL, " ")) {
        if (plan->count > 0
            && strcmp(plan->words[plan->count - 1], "--concurrency") == 0)
            plan->concurrency = (DWORD)atoi(word);
        snprintf(plan->words[plan->count++], sizeof *plan->words, "%s", word);
    }
}

/* All have the same priority to begin with; then see choose(). */
static void take_turns(SCENARIO *plan)
{
    size_t i;

    plan->priorities = plan->inTurn = TRUE;
    world.lowest = 0x40000000;
    for (i = 0; i < sizeof world.priorities / sizeof *world.priorities; ++i)
        world.priorities[i] = world.lowest;
}

/* `text`: how many clients, messages of each, milliseconds between these and
 * between one client and the next; then the server's options. */
void lesson_make(const char *text)
{
    SCENARIO *plan = &world.scenario;
    unsigned turns, pause, gap;
    char line[600];
    int i, used;

    if (sscanf(text, "%d %u %u %u %n", &plan->clients, &turns, &pause, &gap,
               &used)
            != 4
        || plan->clients > MAX_CLIENTS)
        exit(2);
    plan->trace = traces != NULL;
    snprintf(line, sizeof line, "iocp_echo_server 9190 %s%s",
             plan->trace ? "--trace=file " : "", text + used);
    plan->cpus = plan->concurrency = 2;
    add_words(plan, line);
    plan->drain = 5;
    plan->lent = 64;
    plan->transit = TRANSIT;
    plan->presses = 1;
    take_turns(plan);
    for (i = 0; i < plan->clients; ++i)
        make_client(&world.clients[i], turns, pause * MS, gap * MS);
    world.pressAt = (turns + 2) * pause * MS;
}
