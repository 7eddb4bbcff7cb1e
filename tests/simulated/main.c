/*
 * main.c - seeds, one life each.
 *
 * usage: simulate [--seed N] [--count N] [--faults] [--story]
 *                 [--without LIBERTY] [--clients N] [--covered FILE]
 *
 * Runs the lives of `count` seeds from N on. Stops at the first one that is
 * not as it should be, and says what is wrong: status 1.
 */
#include "world.h"

BOOL story;

int server_main(int argc, char **argv);
extern char data_begin[], data_end[], bss_begin[], bss_end[];
extern unsigned char *covered;
extern char __executable_start[], etext[];

#define WEAK __attribute__((weak))
void WEAK __sanitizer_set_death_callback(void (*callback)(void));
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=8:detect_leaks=0:malloc_context_size=2"
           ":allocator_may_return_null=1:handle_segv=1";
}

/* A copy that ASan does not look at. */
static void copy(void *to, const void *from, size_t size)
{
    __asm__ volatile("rep movsb"
                     : "+D"(to), "+S"(from), "+c"(size)
                     :
                     : "memory");
}

/* The server's variables, as they are when a process begins. */
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
    char *argv[25];
    int i;

    for (i = 0; i < world.scenario.count; ++i)
        argv[i] = world.scenario.words[i];
    argv[i] = NULL;
    return server_main(i, argv);
}

typedef struct {
    uint64_t seed, count;
    BOOL faults;
    unsigned without;
    int clients;
    const char *covered;
} ARGUMENTS;

/* One life. Returns what happened, as a number. */
static uint64_t run(const ARGUMENTS *arguments, uint64_t seed)
{
    RANDOM random = seed * 2 + (arguments->faults ? 1 : 0);

    memory_end();
    memset(&world, 0, sizeof world);
    put_back();
    locks_begin();
    races_begin();
    world.seed = seed;
    world.faulty = arguments->faults;
    world.hash = 0xcbf29ce484222325u;
    world.order = draw(&random);
    world.liberty = draw(&random);
    world.plan = draw(&random);
    object_open(OUTPUT);
    object_open(OUTPUT);
    scenario_make();
    world.scenario.liberties &= ~arguments->without;
    if (arguments->clients > 0 && arguments->clients < world.scenario.clients)
        world.scenario.clients = arguments->clients;
    check_end(live(program));
    return world.hash;
}

static void on_death(void)
{
    printf("seed %llu: the sanitizer's words are above; after %u steps\n",
           (unsigned long long)world.seed, world.steps);
    fflush(stdout);
}

static LIBERTY liberty_named(const char *name)
{
#define LIBERTY_TEXT(name) #name,
    static const char *const names[] = {LIBERTIES(LIBERTY_TEXT)};
    int i;

    for (i = 0; i < LIBERTY_COUNT; ++i)
        if (strcmp(names[i], name) == 0)
            return (LIBERTY)i;
    printf("no such liberty: %s; there are:", name);
    for (i = 0; i < LIBERTY_COUNT; ++i)
        printf(" %s", names[i]);
    printf("\n");
    exit(2);
}

static void parse(ARGUMENTS *arguments, int argc, char **argv)
{
    int i;

    for (i = 1; i < argc; ++i) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--faults") == 0)
            arguments->faults = TRUE;
        else if (strcmp(argv[i], "--story") == 0)
            story = TRUE;
        else if (strcmp(argv[i], "--seed") == 0 && ++i < argc)
            arguments->seed = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--count") == 0 && ++i < argc)
            arguments->count = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--clients") == 0 && ++i < argc)
            arguments->clients = atoi(value);
        else if (strcmp(argv[i], "--covered") == 0 && ++i < argc)
            arguments->covered = value;
        else if (strcmp(argv[i], "--without") == 0 && ++i < argc)
            arguments->without |= 1u << liberty_named(value);
        else
            exit((printf("what is %s?\n", argv[i]), 2));
    }
}

static void write_covered(const char *name)
{
    size_t size = (size_t)(etext - __executable_start), i;
    FILE *file = fopen(name, "w");

    for (i = 0; i < size && file != NULL; ++i)
        if (covered[i])
            fprintf(file, "%zx\n", i);
    if (file == NULL || fclose(file) != 0)
        exit(2);
}

int main(int argc, char **argv)
{
    ARGUMENTS arguments = {1, 1, FALSE, 0, 0, NULL};
    uint64_t seed, hash = 0, steps = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    parse(&arguments, argc, argv);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(on_death);
    if (arguments.covered != NULL)
        covered = calloc(1, (size_t)(etext - __executable_start));
    for (seed = arguments.seed; seed - arguments.seed < arguments.count;
         ++seed) {
        hash = run(&arguments, seed);
        steps += world.steps;
    }
    if (arguments.covered != NULL)
        write_covered(arguments.covered);
    printf(
        "%llu lives, %llu steps, all as they should be; the last: %016llx\n",
        (unsigned long long)arguments.count, (unsigned long long)steps,
        (unsigned long long)hash);
    return 0;
}
