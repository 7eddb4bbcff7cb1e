/*
 * trace_file.h - a file that several threads write piece by piece.
 *
 * Each WriteFile writes whole pieces, when the buffer is full and four times a
 * second: the file of a killed server ends between two pieces, not in one. If
 * the file can't be made or written, one line says so, and it is closed.
 */
#pragma once

#include "platform.h"

/*
 * Main, before the other threads start: makes or empties the file, and writes
 * `beginning`. Keeps `name`. Returns FALSE if that fails, or if it is no file
 * on a disk: a pipe or a device may make everybody wait who writes to it.
 */
BOOL trace_file_open(const char *name, const char *beginning);

/* Adds a piece, much smaller than the buffer of 64 KiB. Returns FALSE if the
 * file is closed. */
BOOL trace_file_put(const char *piece, size_t length);

/* Main, after the other threads have ended: writes `end` and closes the file,
 * if it is open. */
void trace_file_close(const char *end);

/* Writes text to `out` as the inside of a JSON string, cut where it does not
 * fit. Returns `out`. */
const char *json_escape(const char *text, char *out, size_t size);
