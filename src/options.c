/*
 * options.c - the command line: a table with a row for each option.
 *
 * To add an option, add its field to OPTIONS and its row to the table. A number
 * or a switch needs no more. Any other kind of value needs a function: it gets
 * the option's name and its value, stores what that means and returns TRUE, or
 * says in one line what is wrong and what would be right.
 */
#include "options.h"
#include "version.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define MAX_SECONDS 86400u
#define MAX_WORK    60000u  /* ms */

typedef BOOL (*SETTER)(OPTIONS *options, const char *option,
                       const char *value);

/* ---------------------------- kinds of values ---------------------------- */

/* Reads the number that `text` begins with. Returns where it ends; NULL if
 * there is none, or if it is more than `most`. */
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
    const char *end = scan_number(value, most, number);

    if (end == NULL || *end != '\0' || *number < least) {
        log_error("%s: '%s' is not a number from %lu to %lu", option, value,
                  least, most);
        return FALSE;
    }
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

/* Reads an address in numbers: a name could mean several. Returns FALSE if it
 * is not one. */
static BOOL parse_address(const char *value, SOCKADDR_INET *address)
{
    ADDRINFOA hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    ADDRINFOA *found = NULL;
    BOOL fits;

    if (getaddrinfo(value, NULL, &hints, &found) != 0)
        return FALSE;
    fits = found->ai_addrlen <= sizeof *address;
    if (fits)
        memcpy(address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return fits;
}

/* Multicast and broadcast addresses are only for sending datagrams to. */
static BOOL can_listen(const SOCKADDR_INET *address)
{
    if (address->si_family == AF_INET6)
        return address->Ipv6.sin6_addr.s6_addr[0] != 0xff;
    return ntohl(address->Ipv4.sin_addr.s_addr) >> 28 < 0xe;
}

static BOOL set_bind(OPTIONS *options, const char *option, const char *value)
{
    SOCKADDR_INET address;

    ZeroMemory(&address, sizeof address);
    if (!parse_address(value, &address)) {
        log_error("%s: '%s' is not an IPv4 or IPv6 address such as 127.0.0.1 "
                  "or ::1",
                  option, value);
        return FALSE;
    }
    if (!can_listen(&address)) {
        log_error("%s: '%s' is a multicast or broadcast address; a server "
                  "can't listen on it",
                  option, value);
        return FALSE;
    }
    address.Ipv4.sin_port = options->address.Ipv4.sin_port;
    options->address = address;
    return TRUE;
}

static BOOL set_work(OPTIONS *options, const char *option, const char *value)
{
    const char *kind = scan_number(value, MAX_WORK, &options->workTime);
    BOOL spins = kind != NULL && strcmp(kind, ":spin") == 0;

    if (kind == NULL
        || (*kind != '\0' && !spins && strcmp(kind, ":sleep") != 0)) {
        log_error("%s: '%s' is not a number from 0 to %lu, alone or with "
                  ":sleep or :spin behind it",
                  option, value, (DWORD)MAX_WORK);
        return FALSE;
    }
    options->workSpins = spins;
    return TRUE;
}

static BOOL set_trace(OPTIONS *options, const char *option, const char *value)
{
    (void)option;
    options->traceFile = value;
    return TRUE;
}

/* ------------------------------- the table ------------------------------- */

/* The fields are in the order in which a row is read.
 * NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
typedef struct {
    char letter;           /* '\0': it has none                             */
    const char *name;
    const char *metavar;   /* NULL: a switch, which stores `most`           */
    size_t offset;         /* of its DWORD in OPTIONS                       */
    DWORD least, most;     /* what a number may be                          */
    DWORD preset;          /* what it is without the option                 */
    SETTER set;            /* for a value that is no number; else NULL      */
    const char *help;
    const char *presetText;  /* in the help, where a number says too little */
} OPTION;

#define FIELD(name) offsetof(OPTIONS, name)
#define NO_FIELD    ((size_t)-1)  /* --help, --version, and what has a SETTER */

static const OPTION table[] = {
    {'b', "bind", "ADDR", NO_FIELD, 0, 0, 0, set_bind,
     "listen on this address", "all, IPv6 and IPv4"},
    {'w', "workers", "N", FIELD(workers), 1, MAX_WORKERS, 0, NULL,
     "worker threads", "the number of CPUs"},
    {'c', "concurrency", "N", FIELD(concurrency), 0, MAX_WORKERS, 0, NULL,
     "workers that run at once", "0: CPUs"},
    {'m', "max-connections", "N", FIELD(maxConnections), 0, 1000000, 0, NULL,
     "connections at once", "0: no limit"},
    {'i', "idle-timeout", "SECONDS", FIELD(idleTimeout), 0, MAX_SECONDS, 0,
     NULL, "close if nothing moved", "0: never"},
    {'\0', "drain-timeout", "SECONDS", FIELD(drainTimeout), 0, MAX_SECONDS, 5,
     NULL, "for sends when stopping", NULL},
    {'\0', "buffer", "BYTES", FIELD(largestBuffer), BUF_SIZE, MAX_BUFFER,
     MAX_BUFFER, NULL, "largest buffer", NULL},
    {'\0', "buffer-total", "MIB", FIELD(lentBuffers), 0, 1000, 64, NULL,
     "of buffers above 4 KiB", NULL},
    {'\0', "batch", "N", FIELD(batch), 1, MAX_BATCH, 1, NULL,
     "packets to take in one call", NULL},
    {'\0', "inline", "N", FIELD(inlineLimit), 0, 1000, 0, NULL,
     "done at once: N in a row", NULL},
    {'\0', "zero-byte-recv", NULL, FIELD(zeroByteRecv), 0, TRUE, FALSE, NULL,
     "idle connections have no buffer", NULL},
    {'\0', "work", "MS[:sleep|spin]", NO_FIELD, 0, MAX_WORK, 0, set_work,
     "time to spend on each READ", "0:sleep"},
    {'\0', "post", "N", FIELD(posted), 0, 1000, 0, NULL,
     "packets to post by hand", NULL},
    {'\0', "trace", "FILE", NO_FIELD, 0, 0, 0, set_trace,
     "write what happens, for a trace viewer", "none"},
    {'v', "verbose", NULL, FIELD(logLevel), 0, LOG_VERBOSE, LOG_NORMAL, NULL,
     "print every connection and packet", NULL},
    {'q', "quiet", NULL, FIELD(logLevel), 0, LOG_QUIET, LOG_NORMAL, NULL,
     "print nothing but errors", NULL},
    {'h', "help", NULL, NO_FIELD, 0, 0, 0, NULL, "print this and exit", NULL},
    {'V', "version", NULL, NO_FIELD, 0, 0, 0, NULL,
     "print the version and exit", NULL},
};

#define TABLE_END (table + sizeof table / sizeof table[0])

static void store(OPTIONS *options, const OPTION *option, DWORD value)
{
    memcpy((char *)options + option->offset, &value, sizeof value);
}

static BOOL set_option(OPTIONS *options, const OPTION *option,
                       const char *value)
{
    char typed[32];
    DWORD number = option->most;

    snprintf(typed, sizeof typed, "--%s", option->name);
    if (option->set != NULL)
        return option->set(options, typed, value);
    if (option->metavar != NULL
        && !parse_number(typed, value, option->least, option->most, &number))
        return FALSE;
    store(options, option, number);
    return TRUE;
}

static void set_defaults(OPTIONS *options)
{
    const OPTION *option;

    ZeroMemory(options, sizeof *options);
    for (option = table; option < TABLE_END; ++option)
        if (option->offset != NO_FIELD)
            store(options, option, option->preset);
}

/* --------------------------------- help ---------------------------------- */

static void print_option(const OPTION *option)
{
    char left[40], range[32] = "", preset[32] = "";

    snprintf(left, sizeof left, "%s%s%s", option->name,
             option->metavar != NULL ? " " : "",
             option->metavar != NULL ? option->metavar : "");
    if (option->metavar != NULL && option->most != 0)
        snprintf(range, sizeof range, ", %lu-%lu", option->least,
                 option->most);
    if (option->presetText != NULL)
        snprintf(preset, sizeof preset, " (%s)", option->presetText);
    else if (option->metavar != NULL)
        snprintf(preset, sizeof preset, " (%lu)", option->preset);
    log_event("  %c%c --%-22s %s%s%s", option->letter ? '-' : ' ',
              option->letter ? option->letter : ' ', left, option->help, range,
              preset);
}

static void print_help(void)
{
    const OPTION *option;

    log_event("usage: %s PORT [OPTIONS]", PROGRAM_NAME);
    log_event("");
    log_event(
        "A TCP echo server (RFC 862) on an I/O completion port. PORT is");
    log_event("0-65535; with 0 the system chooses and the ready line says.");
    log_event("Ctrl+C stops it: what was received is still echoed; a second");
    log_event("Ctrl+C cuts that short.");
    log_event("");
    log_event("options (and defaults):");
    for (option = table; option < TABLE_END; ++option)
        print_option(option);
    log_event("idle: no operation ends for SECONDS (a send: each 64 KiB)");
    log_event("");
    log_event("exit status: 0 stopped cleanly, 1 could not run, 2 wrong "
              "command line");
}

/* -------------------------------- parsing -------------------------------- */

/*
 * Finds the table's row for an argument: --name, --name=VALUE, -x or -xVALUE.
 * *value is what follows in the same argument, or NULL. Returns NULL if there
 * is no such option.
 */
static const OPTION *find_option(const char *arg, const char **value)
{
    BOOL isLong = arg[1] == '-';
    size_t length = isLong ? strcspn(arg + 2, "=") : 0;
    const char *rest = isLong ? arg + 2 + length : arg + 2;
    const OPTION *option;

    for (option = table; option < TABLE_END; ++option) {
        if (isLong ? strlen(option->name) != length
                         || strncmp(option->name, arg + 2, length) != 0
                   : option->letter != arg[1])
            continue;
        *value = *rest == '\0' ? NULL : rest + isLong;
        return option;
    }
    return NULL;
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

/* Handles the option at argv[*i], and moves *i on if its value is the next
 * argument. */
static OPTIONS_RESULT parse_option(OPTIONS *options, char **argv, int *i)
{
    const char *arg = argv[*i], *value;
    const OPTION *option = find_option(arg, &value);

    if (option == NULL)
        return wrong("unknown option '%s' (see --help)", arg);
    if (option->metavar == NULL && value != NULL)
        return wrong("%s: this option takes no value", arg);
    if (option->metavar != NULL && value == NULL)
        value = argv[++*i];  /* NULL after the last */
    if (option->metavar != NULL && (value == NULL || *value == '\0'))
        return wrong("%s: its value is missing (see --help)", arg);
    if (option->letter == 'h') {
        print_help();
        return OPTIONS_DONE;
    }
    if (option->letter == 'V') {
        log_event("%s %s", PROGRAM_NAME, PROGRAM_VERSION);
        return OPTIONS_DONE;
    }
    return set_option(options, option, value) ? OPTIONS_RUN : OPTIONS_WRONG;
}

OPTIONS_RESULT options_parse(OPTIONS *options, int argc, char **argv)
{
    OPTIONS_RESULT result = OPTIONS_RUN;
    const char *port = NULL;
    int i;

    set_defaults(options);
    for (i = 1; i < argc && result == OPTIONS_RUN; ++i)
        if (is_option(argv[i]))
            result = parse_option(options, argv, &i);
        else if (port == NULL)
            port = argv[i];
        else
            result = wrong("a second port '%s'; one is enough (see --help)",
                           argv[i]);
    if (result != OPTIONS_RUN)
        return result;
    if (port == NULL)
        return wrong("no port given; usage: %s PORT [OPTIONS]", PROGRAM_NAME);
    if (!set_port(options, "port", port))
        return OPTIONS_WRONG;
    logLevel = (LOG_LEVEL)options->logLevel;
    options->idleTimeout *= 1000;
    /* Of all processor groups; the chapter's GetSystemInfo counts one, which
     * has 64 at most. Wine 8 says 0 where /sys is not mounted. */
    options->cpus = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    if (options->cpus == 0)
        options->cpus = 1;
    if (options->workers == 0)
        options->workers = options->cpus;
    if (options->concurrency == 0)
        options->concurrency = options->cpus;
    return OPTIONS_RUN;
}
