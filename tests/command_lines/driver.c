/*
 * driver.c - passes many command lines to options_parse, in one process.
 *
 * Starting a process for each would be most of the work. Standard input holds
 * one command line after the other: the number of arguments in two bytes, low
 * byte first, then each argument's length in two bytes and the argument. After
 * each command line the driver writes a line to both standard output and
 * standard error: \x01, "done", the OPTIONS_RESULT and the port.
 *
 * An argument ends where its pages end, and the page after them is not
 * accessible: reading past its NUL ends the process.
 */
#include "../../src/options.h"

#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <string.h>

#define PAGE      4096u
#define ROOM      (17u * PAGE)  /* for one argument; the length is 16 bits */
#define ARGUMENTS 64u

/* Ends the process with a status that no test takes for a good end. */
static void give_up(const char *what)
{
    fprintf(stderr, "driver: %s\n", what);
    ExitProcess(3);
}

static BOOL read_all(void *to, size_t size)
{
    return fread(to, 1, size, stdin) == size;
}

static BOOL read_number(unsigned *number)
{
    unsigned char bytes[2];

    if (!read_all(bytes, 2))
        return FALSE;
    *number = bytes[0] + 256u * bytes[1];
    return TRUE;
}

/* Returns the end of ROOM bytes; an access beyond it ends the process. */
static char *fence(void)
{
    char *pages = VirtualAlloc(NULL, ROOM + PAGE, MEM_RESERVE, PAGE_NOACCESS);

    if (pages == NULL
        || VirtualAlloc(pages, ROOM, MEM_COMMIT, PAGE_READWRITE) == NULL)
        give_up("no memory");
    return pages + ROOM;
}

static char *read_argument(char *end)
{
    unsigned length;

    if (!read_number(&length))
        give_up("no argument");
    end -= length + 1;
    if (!read_all(end, length))
        give_up("half an argument");
    end[length] = '\0';
    return end;
}

/* Writes as log.c does, so that the lines come in order. */
static void mark(DWORD stream, const char *line)
{
    DWORD written;

    if (!WriteFile(GetStdHandle(stream), line, (DWORD)strlen(line), &written,
                   NULL))
        give_up("can't write");
}

int main(void)
{
    static char *ends[ARGUMENTS], *arguments[ARGUMENTS + 2];
    char line[64], name[] = "driver";
    WSADATA wsaData;
    unsigned count, i;

    if (WSAStartup(MAKEWORD(2, 2), &wsaData) != 0
        || _setmode(_fileno(stdin), _O_BINARY) == -1)
        give_up("can't start");
    for (i = 0; i < ARGUMENTS; ++i)
        ends[i] = fence();
    arguments[0] = name;
    while (read_number(&count)) {
        OPTIONS options;
        OPTIONS_RESULT result;

        if (count > ARGUMENTS)
            give_up("too many arguments");
        for (i = 0; i < count; ++i)
            arguments[i + 1] = read_argument(ends[i]);
        arguments[count + 1] = NULL;
        logLevel = LOG_NORMAL;
        result = options_parse(&options, (int)count + 1, arguments);
        snprintf(line, sizeof line, "\001done %d %u\n", (int)result,
                 ntohs(options.address.Ipv4.sin_port));
        mark(STD_OUTPUT_HANDLE, line);
        mark(STD_ERROR_HANDLE, line);
    }
    WSACleanup();
    return 0;
}
