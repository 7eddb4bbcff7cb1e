/*
 * work.h - what a class needs and an echo does not: --work and --post.
 *
 * An echo is done in microseconds: too short to see what a completion port
 * does with workers that block, or with more of them than may run at once.
 */
#pragma once

#include "options.h"
#include "stop.h"

/* The key of the packets that are posted by hand: odd, as no address of a
 * connection is. */
#define POSTED_KEY ((ULONG_PTR)1)

/* Works as long as --work says, on the calling thread. A stop ends the work
 * early; after it there is none. */
void work_do(const OPTIONS *options, const STOP *stop);

/* Posts the packets that --post asks for; packet N says that it has N bytes. */
void work_post(const OPTIONS *options, HANDLE hComPort);
