/*
 * console.h - what the console does to the server.
 *
 * Ctrl+C, Ctrl+Break and closing the console stop it. With QuickEdit a click
 * into a classic console begins a selection, which stops every write to the
 * console until a key is pressed: with -v every worker. So QuickEdit is off
 * while the server runs; without a console there is nothing to do.
 */
#pragma once

#include "stop.h"

/* Begins to handle events and turns QuickEdit off. Keeps `stop`. */
void console_open(STOP *stop);

/* Turns QuickEdit back on, if it was on. */
void console_close(void);
