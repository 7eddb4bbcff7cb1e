/*
 * trace_file.h - a file that several threads write piece by piece.
 *
 * Each WriteFile writes whole pieces: the file of a killed server ends between
 * two pieces, not in one.
 */
#pragma once

#include "platform.h"

/* Takes over the file. Main, before the other threads start. */
void trace_file_open(HANDLE handle);

/*
 * Adds a piece, much smaller than the buffer of 64 KiB, and writes what is
 * buffered when there is no room, or `now`. Returns NO_ERROR; or, once, why it
 * could not be written: then the file is closed, and nothing more is added.
 */
DWORD trace_file_put(const char *piece, size_t length, BOOL now);

/* Closes the file, if it is open. Main, after the other threads have ended.
 * Returns NO_ERROR, or why that failed. */
DWORD trace_file_close(void);
