/*
 * options.c - the command line: one table, one validator for each option.
 *
 * A validator gets the option as it was typed and its value, stores what it
 * means and returns TRUE; or says in one line what is wrong with it and what
 * would be right, and returns FALSE.
 */
#include "options.h"
#include "buffer.h"
#include "version.h"
#include "worker.h"

#include <stdio.h>
#include <string.h>

#define MAX_WORKERS     1024u
#define MAX_CONNECTIONS 1000000u
#define MAX_SECONDS     86400u
#define MAX_BUFFER      1048576u  /* bytes */
#define MAX_INLINE      1000u
#define MAX_WORK        60000u  /* ms */
#define MAX_POSTED      1000u

typedef BOOL (*VALIDATOR)(OPTIONS *, const char *option, const char *value);

/* ------------------------------ validators ------------------------------- */

/* Where the digits end that `text` begins with; NULL if there are none, or if
 * they are more than `most`. */
static const char *scan_number(const char *text, DWORD most, DWORD *number)
{
    const char *c;

    *number = 0;
    for (c = text; *c >= '0' && *c <= '9' && *number <= most; ++c)
        *number = *number * 10 + (DWORD)(*c - '0');
    return c == text || *number > most ? NULL : c;
}

/* Digits and nothing else: atoi would take "9190x", "-1" and "" for numbers. */
static BOOL parse_number(const char *option, const char *value, DWORD least,
                         DWORD most, DWORD *number)
{
    DWORD n;
    const char *end = scan_number(value, most, &n);

    if (end == NULL || *end != '\0' || n < least) {
        log_error("%s: '%s' is not a number from %lu to %lu", option, value,
                  least, most);
        return FALSE;
    }
    *number = n;
    return TRUE;
}

static BOOL set_port(OPTIONS *options, const char *option, const char *value)
{
    DWORD port;

    if (!parse_number(option, value, 0, 65535, &port))
        return FALSE;
    /* The same place in either family's address. */
    options->address.Ipv4.sin_port = htons((u_short)port);
    return TRUE;
}

static BOOL set_bind(OPTIONS *options, const char *option, const char *value)
{
    ADDRINFOA hints, *found = NULL;
    u_short port = options->address.Ipv4.sin_port;

    ZeroMemory(&hints, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST;  /* a name could mean several */
    /* An empty text is checked here: for getaddrinfo it is this host. */
    if (*value == '\0' || getaddrinfo(value, NULL, &hints, &found) != 0
        || found->ai_addrlen > sizeof options->address) {
        log_error("%s: '%s' is not an IPv4 or IPv6 address such as 127.0.0.1 "
                  "or ::1",
                  option, value);
        if (found != NULL)
            freeaddrinfo(found);
        return FALSE;
    }
    memcpy(&options->address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    options->address.Ipv4.sin_port = port;
    options->anyAddress = FALSE;
    return TRUE;
}

static BOOL set_workers(OPTIONS *options, const char *option,
                        const char *value)
{
    return parse_number(option, value, 1, MAX_WORKERS, &options->workers);
}

static BOOL set_concurrency(OPTIONS *options, const char *option,
                            const char *value)
{
    return parse_number(option, value, 0, MAX_WORKERS, &options->concurrency);
}

static BOOL set_max_connections(OPTIONS *options, const char *option,
                                const char *value)
{
    return parse_number(option, value, 0, MAX_CONNECTIONS,
                        &options->maxConnections);
}

static BOOL set_idle_timeout(OPTIONS *options, const char *option,
                             const char *value)
{
    return parse_number(option, value, 0, MAX_SECONDS, &options->idleTimeout);
}

static BOOL set_drain_timeout(OPTIONS *options, const char *option,
                              const char *value)
{
    return parse_number(option, value, 0, MAX_SECONDS, &options->drainTimeout);
}

static BOOL set_buffer(OPTIONS *options, const char *option, const char *value)
{
    return parse_number(option, value, BUF_SIZE, MAX_BUFFER,
                        &options->largestBuffer);
}

static BOOL set_batch(OPTIONS *options, const char *option, const char *value)
{
    return parse_number(option, value, 1, MAX_BATCH, &options->batch);
}

static BOOL set_inline(OPTIONS *options, const char *option, const char *value)
{
    return parse_number(option, value, 0, MAX_INLINE, &options->inlineLimit);
}

static BOOL set_zero_byte(OPTIONS *options, const char *option,
                          const char *value)
{
    (void)option, (void)value;
    options->zeroByteRecv = TRUE;
    return TRUE;
}

static BOOL set_work(OPTIONS *options, const char *option, const char *value)
{
    DWORD n;
    const char *kind = scan_number(value, MAX_WORK, &n);
    BOOL spins = kind != NULL && strcmp(kind, ":spin") == 0;

    if (kind == NULL
        || (*kind != '\0' && !spins && strcmp(kind, ":sleep") != 0)) {
        log_error("%s: '%s' is not a number from 0 to %lu, alone or with "
                  ":sleep or :spin behind it",
                  option, value, (DWORD)MAX_WORK);
        return FALSE;
    }
    options->workTime = n;
    options->workSpins = spins;
    return TRUE;
}

static BOOL set_post(OPTIONS *options, const char *option, const char *value)
{
    return parse_number(option, value, 0, MAX_POSTED, &options->posted);
}

static BOOL set_trace(OPTIONS *options, const char *option, const char *value)
{
    if (*value == '\0') {
        log_error("%s: '' is not the name of a file to write", option);
        return FALSE;
    }
    options->traceFile = value;
    return TRUE;
}

static BOOL set_verbose(OPTIONS *options, const char *option,
                        const char *value)
{
    (void)option, (void)value;
    options->logLevel = LOG_VERBOSE;
    return TRUE;
}

static BOOL set_quiet(OPTIONS *options, const char *option, const char *value)
{
    (void)option, (void)value;
    options->logLevel = LOG_QUIET;
    return TRUE;
}

/* ------------------------------- the table ------------------------------- */

static const struct {
    char letter;
    const char *name;
    const char *metavar;  /* NULL: the option takes no value        */
    VALIDATOR set;        /* NULL: --help and --version, see below  */
    const char *help;
} table[] = {
    {'b', "bind", "ADDR", set_bind,
     "listen on this address (all, IPv6 and IPv4)"},
    {'w', "workers", "N", set_workers,
     "worker threads, 1-1024 (the number of CPUs)"},
    {'c', "concurrency", "N", set_concurrency,
     "workers the port lets run at once (0: CPUs)"},
    {'m', "max-connections", "N", set_max_connections,
     "accept no more than N at once (0: no limit)"},
    {'i', "idle-timeout", "SECONDS", set_idle_timeout,
     "close a connection idle this long (0: never)"},
    {'\0', "drain-timeout", "SECONDS", set_drain_timeout,
     "when stopping, time for sends to finish (5)"},
    {'\0', "buffer", "BYTES", set_buffer,
     "receive into up to this, 4096-1048576 (65536)"},
    {'\0', "batch", "N", set_batch, "packets to take in one call, 1-256 (1)"},
    {'\0', "inline", "N", set_inline,
     "handle what is done at once, N in a row (0)"},
    {'\0', "zero-byte-recv", NULL, set_zero_byte,
     "idle connections have no buffer"},
    {'\0', "work", "MS[:sleep|spin]", set_work,
     "time to spend on each READ, 0-60000 (0:sleep)"},
    {'\0', "post", "N", set_post,
     "post N packets by hand at start, 0-1000 (0)"},
    {'\0', "trace", "FILE", set_trace,
     "write what happens, for a trace viewer (none)"},
    {'v', "verbose", NULL, set_verbose, "print every connection and packet"},
    {'q', "quiet", NULL, set_quiet, "print nothing but errors"},
    {'h', "help", NULL, NULL, "print this and exit"},
    {'V', "version", NULL, NULL, "print the version and exit"},
};

#define TABLE_SIZE (sizeof table / sizeof table[0])

static void print_help(void)
{
    char left[32];
    size_t i;

    log_text("usage: %s PORT [OPTIONS]\n\n"
             "A TCP echo server (RFC 862) on an I/O completion port. PORT is\n"
             "0-65535; with 0 the system chooses and the ready line says.\n"
             "Ctrl+C stops it: what was received is still echoed; a second\n"
             "Ctrl+C cuts that short.\n\noptions (and defaults):\n",
             PROGRAM_NAME);
    for (i = 0; i < TABLE_SIZE; ++i) {
        const char *metavar = table[i].metavar;

        snprintf(left, sizeof left, "%s%s%s", table[i].name,
                 metavar != NULL ? " " : "", metavar != NULL ? metavar : "");
        log_text("  %c%c --%-24s %s\n", table[i].letter ? '-' : ' ',
                 table[i].letter ? table[i].letter : ' ', left, table[i].help);
    }
    log_text("\nexit status: 0 stopped cleanly, 1 could not run, 2 wrong "
             "command line\n");
}

/* -------------------------------- parsing -------------------------------- */

/*
 * Finds the table's row for argument `arg`: --name, --name=VALUE, -x or
 * -xVALUE. *value is what follows in the same argument, or NULL. Returns
 * TABLE_SIZE if there is no such option.
 */
static size_t find_option(const char *arg, const char **value)
{
    size_t i, length;

    *value = NULL;
    if (arg[1] != '-') {
        for (i = 0; i < TABLE_SIZE; ++i)
            if (table[i].letter != '\0' && table[i].letter == arg[1]) {
                if (arg[2] != '\0')
                    *value = arg + 2;
                return i;
            }
        return TABLE_SIZE;
    }
    arg += 2;
    length = strcspn(arg, "=");
    for (i = 0; i < TABLE_SIZE; ++i)
        if (strlen(table[i].name) == length
            && strncmp(table[i].name, arg, length) == 0) {
            if (arg[length] == '=')
                *value = arg + length + 1;
            return i;
        }
    return TABLE_SIZE;
}

static BOOL is_option(const char *arg)
{
    /* "-1" is a wrong port, not an unknown option. */
    return arg[0] == '-' && arg[1] != '\0' && (arg[1] < '0' || arg[1] > '9');
}

static OPTIONS_RESULT wrong(const char *format, const char *arg)
{
    log_error(format, arg);
    return OPTIONS_WRONG;
}

static void set_defaults(OPTIONS *options)
{
    ZeroMemory(options, sizeof *options);
    options->address.si_family = AF_INET6;  /* and all zero: in6addr_any */
    options->anyAddress = TRUE;
    options->drainTimeout = 5;
    options->largestBuffer = 65536;
    options->batch = 1;
    options->logLevel = LOG_NORMAL;
}

OPTIONS_RESULT options_parse(OPTIONS *options, int argc, char **argv)
{
    BOOL havePort = FALSE;
    int i;

    set_defaults(options);
    for (i = 1; i < argc; ++i) {
        const char *arg = argv[i];
        const char *value;
        char option[32];
        size_t row;

        if (!is_option(arg)) {
            if (havePort)
                return wrong("a second port '%s'; one is enough (see --help)",
                             arg);
            if (!set_port(options, "port", arg))
                return OPTIONS_WRONG;
            havePort = TRUE;
            continue;
        }
        row = find_option(arg, &value);
        if (row == TABLE_SIZE)
            return wrong("unknown option '%s' (see --help)", arg);
        if (table[row].metavar == NULL && value != NULL)
            return wrong("%s: this option takes no value", arg);
        if (table[row].metavar != NULL && value == NULL) {
            if (++i == argc)
                return wrong("%s: its value is missing (see --help)", arg);
            value = argv[i];
        }
        if (table[row].letter == 'h') {
            print_help();
            return OPTIONS_DONE;
        }
        if (table[row].letter == 'V') {
            log_text("%s %s\n", PROGRAM_NAME, PROGRAM_VERSION);
            return OPTIONS_DONE;
        }
        snprintf(option, sizeof option, "--%s", table[row].name);
        if (!table[row].set(options, option, value))
            return OPTIONS_WRONG;
    }
    if (!havePort)
        return wrong("no port given; usage: %s PORT [OPTIONS]", PROGRAM_NAME);
    return OPTIONS_RUN;
}
