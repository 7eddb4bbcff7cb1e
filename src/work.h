/*
 * work.h - something to do for each READ before it is echoed (--work).
 *
 * An echo is done in microseconds: too short to see what a completion port
 * does with workers that block, or with more of them than may run at once.
 */
#ifndef WORK_H
#define WORK_H

#include "platform.h"

/*
 * How long each READ takes, 0 for no work, and whether the worker computes
 * (spins) or blocks (sleeps). Set once, before the first worker starts; only
 * read after that.
 */
void work_set(DWORD milliseconds, BOOL spins);

/* Works for a READ, on the calling thread. A stop ends it early, and there is
 * none once the server is stopping. */
void work_do(void);

#endif
