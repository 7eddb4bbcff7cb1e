/* scenario.c - reads what a life is: lives.py packs it. */
#include "world.h"

BOOL scenario_read(void)
{
    SCENARIO *scenario = &world.scenario;
    int i;

    if (fread(scenario, sizeof *scenario, 1, stdin) != 1)
        return FALSE;
    for (i = 0; i < MAX_CLIENTS; ++i) {
        memcpy(&world.clients[i], &scenario->manners[i], sizeof(MANNERS));
        world.clients[i].number = i + 1;
    }
    return TRUE;
}

/* ---------------------------------- faults ------------------------------- */

static const DWORD codes[CALL_COUNT][3] = {
#define CALL_CODES(name, a, b, c, kind) {a, b, c},
    CALLS(CALL_CODES)};

/* A VirtualFree that fails keeps its block for ever. */
#define MAX_FREES (MAX_BLOCKS / 2)

DWORD fault_code(CALL call)
{
    unsigned count = world.calls[call];
    const FAULT *fault = world.scenario.faults;

    for (; fault < world.scenario.faults + MAX_FAULTS; ++fault)
        if (fault->first > 0 && fault->call == call && count >= fault->first
            && world.failures[call] < (call == CALL_accept ? 40 : MAX_FREES)
            && (count == fault->first
                || (fault->every != 0
                    && (count - fault->first) % fault->every == 0))) {
            ++world.failures[call];
            ++world.failed;
            tell("%s fails with %u", call_name(call),
                 codes[call][fault->pick]);
            return codes[call][fault->pick];
        }
    return 0;
}
