/*
 * main.c - runs one life after the other.
 *
 * usage: simulate [TRACES [COVERED]]
 *
 * Runs the lives that standard input describes: see lives.py. Stops at the
 * first that fails a check, says what is wrong and returns status 1. Writes the
 * traces of --trace to a file, and a byte for each of the program, which tells
 * whether a block that begins there was entered, to another.
 */
#include "world.h"

#include <sanitizer/common_interface_defs.h>

FILE *traces;

int server_main(int argc, char **argv);
extern char data_begin[], data_end[], bss_begin[], bss_end[];
extern unsigned char *covered;
extern char __executable_start[], etext[];

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=8:detect_leaks=0:malloc_context_size=2"
           ":allocator_may_return_null=1:handle_segv=1";
}

/* Copies without ASan's checks. */
static void copy(void *to, const void *from, size_t size)
{
    __asm__ volatile("rep movsb"
                     : "+D"(to), "+S"(from), "+c"(size)
                     :
                     : "memory");
}

/* Puts the server's variables back to what they are when a process begins. */
static void put_back(void)
{
    static char *data, *zeros;
    size_t dataSize = (size_t)(data_end - data_begin);
    size_t bssSize = (size_t)(bss_end - bss_begin);

    if (data == NULL) {
        data = malloc(dataSize);
        zeros = calloc(1, bssSize);
        copy(data, data_begin, dataSize);
    }
    copy(data_begin, data, dataSize);
    copy(bss_begin, zeros, bssSize);
}

static int program(void)
{
    static char name[] = "iocp_echo_server", options[400];
    char *argv[32] = {name};
    int argc = 1;

    memcpy(options, world.scenario.options, sizeof options);
    argv[argc] = strtok(options, " ");
    while (argv[argc] != NULL)
        argv[++argc] = strtok(NULL, " ");
    return server_main(argc, argv);
}

/* Runs the next life of those on standard input. Returns FALSE after the
 * last. */
static BOOL run(void)
{
    memory_end();
    memset(&world, 0, sizeof world);
    if (!scenario_read())
        return FALSE;
    put_back();
    races_begin();
    world.hash = 0xcbf29ce484222325u;
    world.order = world.scenario.order;
    world.liberty = draw(&world.order);
    schedule_begin();
    object_open(OUTPUT);
    object_open(OUTPUT);
    world.consoleMode = world.scenario.quickEdit ? 0x40 : 0;
    world.pressAt = NEVER;
    check_end(live(program));
    fputs("----\n", traces);
    return TRUE;
}

static void on_death(void)
{
    printf("%s: the sanitizer's words are above; after %u steps\n",
           world.scenario.name, world.steps);
    fflush(stdout);
}

static void write_covered(const char *name)
{
    size_t size = (size_t)(etext - __executable_start);
    FILE *file = fopen(name, "w");

    fwrite(covered, 1, size, file);
    fclose(file);
}

/* Prints the calls that could have failed, but did not in any of the lives with
 * calls that fail. */
static void print_never_failed(const unsigned *failures)
{
#define CALL_FAILS(name, a, b, c, kind) a != 0,
    static const BOOL can[] = {CALLS(CALL_FAILS)};
    int i;

    for (i = 0; i < CALL_COUNT; ++i)
        if (can[i] && failures[i] == 0)
            printf("never failed: %s\n", call_name((CALL)i));
}

int main(int argc, char **argv)
{
    static unsigned failures[CALL_COUNT];
    unsigned long long count = 0, steps = 0, hash = 0;
    unsigned failing = 0;
    int i;

    setvbuf(stdout, NULL, _IOLBF, 0);
    traces = fopen(argc > 1 ? argv[1] : "/dev/null", "w");
    __sanitizer_set_death_callback(on_death);
    if (argc > 2)
        covered = calloc(1, (size_t)(etext - __executable_start));
    for (; run(); ++count) {
        hash = world.hash;
        steps += world.steps;
        failing += world.scenario.faults[0].first > 0;
        for (i = 0; i < CALL_COUNT; ++i)
            failures[i] += world.failures[i];
    }
    if (failing > 1)
        print_never_failed(failures);
    if (argc > 2)
        write_covered(argv[2]);
    printf(
        "%llu lives, %llu steps, all as they should be; the last: %016llx\n",
        count, steps, hash);
    return 0;
}
