/*
 * main.c - runs one life for each seed.
 *
 * usage: simulate [--seed N] [--count N] [--faults] [--story] [--clients N]
 *                 [--without LIBERTY] [--covered FILE] [--traces FILE]
 *                 [--lesson TEXT]
 *
 * Runs the lives of `count` seeds from N on. Stops at the first that fails a
 * check, says what is wrong and returns status 1. --without turns off something
 * that Windows permits; --clients leaves out the clients above a number.
 * --lesson plays a lesson instead: see lesson.c.
 */
#include "world.h"

BOOL story;
FILE *traces;

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
    char *argv[25];
    int i;

    for (i = 0; i < world.scenario.count; ++i)
        argv[i] = world.scenario.words[i];
    argv[i] = NULL;
    return server_main(i, argv);
}

static uint64_t seed = 1, count = 1;
static BOOL faults;
static unsigned without;
static int clients;
static const char *coveredName, *lesson;

/* Runs one life. Returns a number that stands for all that happened. */
static uint64_t run(void)
{
    RANDOM random = seed * 2 + (faults ? 1 : 0);

    memory_end();
    memset(&world, 0, sizeof world);
    put_back();
    locks_begin();
    races_begin();
    world.seed = seed;
    world.faulty = faults;
    world.hash = 0xcbf29ce484222325u;
    world.order = draw(&random);
    world.liberty = draw(&random);
    world.plan = draw(&random);
    object_open(OUTPUT);
    object_open(OUTPUT);
    if (lesson != NULL)
        lesson_make(lesson);
    else
        scenario_make();
    world.scenario.liberties &= ~without;
    if (clients > 0 && clients < world.scenario.clients)
        world.scenario.clients = clients;
    check_end(live(program));
    return world.hash;
}

static void on_death(void)
{
    printf("seed %llu: the sanitizer's words are above; after %u steps\n",
           (unsigned long long)world.seed, world.steps);
    fflush(stdout);
}

static unsigned liberty_named(const char *name)
{
#define LIBERTY_BIT(liberty) \
    +(strcmp(name, #liberty) == 0) * (1u << MAY_##liberty)
    return 0 LIBERTIES(LIBERTY_BIT);
}

static void parse(int argc, char **argv)
{
    int i;

    for (i = 1; i < argc; ++i) {
        const char *name = argv[i], *value = argv[i + 1];

        if (strcmp(name, "--faults") == 0)
            faults = TRUE;
        else if (strcmp(name, "--story") == 0)
            story = TRUE;
        else if (++i == argc)
            exit(2);
        else if (strcmp(name, "--seed") == 0)
            seed = strtoull(value, NULL, 10);
        else if (strcmp(name, "--count") == 0)
            count = strtoull(value, NULL, 10);
        else if (strcmp(name, "--clients") == 0)
            clients = atoi(value);
        else if (strcmp(name, "--covered") == 0)
            coveredName = value;
        else if (strcmp(name, "--lesson") == 0)
            lesson = value;
        else if (strcmp(name, "--traces") == 0)
            traces = fopen(value, "w");
        else if (strcmp(name, "--without") == 0 && liberty_named(value) != 0)
            without |= liberty_named(value);
        else
            exit(2);
    }
}

static void write_covered(void)
{
    size_t size = (size_t)(etext - __executable_start), i;
    FILE *file = fopen(coveredName, "w");

    for (i = 0; i < size; ++i)
        if (covered[i])
            fprintf(file, "%zx\n", i);
    fclose(file);
}

/* Prints the calls that could have failed, but did not in any life. */
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
    uint64_t last, hash = 0, steps = 0;
    int i;

    setvbuf(stdout, NULL, _IOLBF, 0);
    parse(argc, argv);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(on_death);
    if (coveredName != NULL)
        covered = calloc(1, (size_t)(etext - __executable_start));
    for (last = seed + count; seed < last; ++seed) {
        hash = run();
        steps += world.steps;
        for (i = 0; i < CALL_COUNT; ++i)
            failures[i] += world.failures[i];
    }
    if (faults && count > 1)
        print_never_failed(failures);
    if (coveredName != NULL)
        write_covered();
    printf(
        "%llu lives, %llu steps, all as they should be; the last: %016llx\n",
        (unsigned long long)count, (unsigned long long)steps,
        (unsigned long long)hash);
    return 0;
}
