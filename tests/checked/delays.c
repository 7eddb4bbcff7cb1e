/*
 * delays.c - races become likely. See checked.h.
 *
 * Where the ownership of a connection changes the window is a few
 * instructions wide; here threads yield or sleep in it, at random, so that
 * others get there first. Each thread has its own sequence, from the seed and
 * its id: not the same from run to run, as the system gives the ids, but as
 * different as can be among threads.
 */
#define CHECKED_REAL
#include "checked.h"

static volatile LONG seed;  /* 0: not looked at yet, -1: no delays */

static LONG get_seed(void)
{
    char text[16];
    LONG value = -1;

    if (GetEnvironmentVariableA("DELAYS", text, sizeof text) != 0)
        value = strtol(text, NULL, 10) & 0x7fffffff;
    if (value == 0)
        value = 1;
    InterlockedExchange(&seed, value);
    return value;
}

void delay(void)
{
    static volatile LONG calls;
    LONG value = seed != 0 ? seed : get_seed();
    DWORD x, error;

    if (value < 0)
        return;
    /* xorshift of what differs from call to call: no state to share. */
    x = (DWORD)value ^ GetCurrentThreadId() * 2654435761u
        ^ (DWORD)InterlockedIncrement(&calls) * 40503u;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    error = GetLastError();
    if (x % 16 == 0)
        Sleep(x % 3);
    else if (x % 2 == 0)
        SwitchToThread();
    SetLastError(error);
}
