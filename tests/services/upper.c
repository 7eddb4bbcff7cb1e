/* upper.c - a service in place of src/echo.c: answers in capital letters. */
#include "echo.h"

#include <ctype.h>

size_t echo_answer(ECHO *echo, char *data, size_t bytes, size_t room)
{
    size_t i;

    (void)echo, (void)room;
    for (i = 0; i < bytes; ++i)
        data[i] = (char)toupper((unsigned char)data[i]);
    return bytes;
}

void echo_closed(ECHO *echo) { (void)echo; }
