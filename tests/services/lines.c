/*
 * lines.c - a service in place of src/echo.c: answers each line with its
 * length, in decimal, on a line of its own. At the end of file it also answers
 * a last line that has no newline.
 *
 * The answer can be longer than what was received (8,192 bytes for 4,096 empty
 * lines), so lines whose answers find no room wait for the next call.
 */
#include "echo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER 24  /* bytes that hold every answer, and its terminator */

typedef struct {
    size_t length;   /* of the line so far, over all calls */
    char *waiting;   /* received, but not answered yet     */
    size_t bytes;    /* in `waiting`                       */
} LINES;

/* Answers what waits, as far as there is room. Returns the answer's length. */
static size_t answer_lines(LINES *lines, char *answer, size_t room)
{
    size_t used = 0, made = 0;

    for (; used < lines->bytes && room - made >= ANSWER; ++used) {
        if (lines->waiting[used] != '\n') {
            ++lines->length;
            continue;
        }
        made += (size_t)snprintf(answer + made, ANSWER, "%lu\n",
                                 (unsigned long)lines->length);
        lines->length = 0;
    }
    lines->bytes -= used;
    memmove(lines->waiting, lines->waiting + used, lines->bytes);
    return made;
}

size_t echo_answer(ECHO *echo, char *data, size_t bytes, size_t room)
{
    LINES *lines = echo->kept;
    size_t made;

    if (lines == NULL)
        lines = echo->kept = calloc(1, sizeof *lines);
    if (lines == NULL)
        abort();
    if (bytes > 0) {  /* nothing waits: `more` was not set */
        free(lines->waiting);
        lines->waiting = malloc(bytes);
        if (lines->waiting == NULL)
            abort();
        memcpy(lines->waiting, data, bytes);
        lines->bytes = bytes;
    }
    made = answer_lines(lines, data, room);
    echo->more = lines->bytes > 0;
    if (made == 0 && echo->ended && lines->length > 0) {
        made = (size_t)snprintf(data, ANSWER, "%lu\n",
                                (unsigned long)lines->length);
        lines->length = 0;
    }
    return made;
}

void echo_closed(ECHO *echo)
{
    LINES *lines = echo->kept;

    if (lines != NULL)
        free(lines->waiting);
    free(lines);
}
