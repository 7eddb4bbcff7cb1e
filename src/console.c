/* console.c - the console's input mode. See console.h. */
#include "console.h"

static HANDLE console;
static volatile LONG savedMode;  /* 0: there is nothing to put back */

BOOL console_disable_quick_edit(void)
{
    DWORD mode;

    /* By its name, as standard input may be something else. */
    console = CreateFileA("CONIN$", GENERIC_READ | GENERIC_WRITE,
                          FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                          OPEN_EXISTING, 0, NULL);
    if (console == INVALID_HANDLE_VALUE || !GetConsoleMode(console, &mode))
        return TRUE;
    /* Without ENABLE_EXTENDED_FLAGS the flag for QuickEdit means nothing:
     * Microsoft's page on SetConsoleMode. */
    mode |= ENABLE_EXTENDED_FLAGS;
    InterlockedExchange(&savedMode, (LONG)mode);
    return SetConsoleMode(console, mode & ~(DWORD)ENABLE_QUICK_EDIT_MODE);
}

BOOL console_restore(void)
{
    LONG mode = InterlockedExchange(&savedMode, 0);

    return mode == 0 || SetConsoleMode(console, (DWORD)mode);
}
