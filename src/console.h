/* console.h - QuickEdit is off while the server runs. */
#pragma once

#include "platform.h"

/*
 * With QuickEdit a click into a classic console begins a selection, which stops
 * every write to the console until a key is pressed: with -v every worker.
 *
 * console_disable_quick_edit turns it off; without a console there is nothing to
 * do. console_restore puts it back, once, and is called wherever the process
 * ends. Both return FALSE if the console refuses, with GetLastError saying why.
 */
BOOL console_disable_quick_edit(void);
BOOL console_restore(void);
