/*
 * races.c - what a thread knows of the others, and every access to memory.
 *
 * Vector clocks: a thread counts its own steps. It learns the steps of another
 * thread when it acquires what that thread has released: a lock, an event, a
 * packet, a thread's start or end, an interlocked call. Two accesses are a race
 * if one writes and neither thread knows of the other's. Two volatile accesses
 * are no race, but a thread learns nothing from them. In the build for races
 * (-fsanitize=thread) the compiler calls these functions for each access in the
 * server's sources, and each volatile access is a point too.
 */
#include "world.h"

#define CELLS 65536u /* of 4 bytes each                                    */
#define READS 4

typedef struct {
    unsigned thread, time;
    BOOL isVolatile;
} ACCESS;

typedef struct {
    uintptr_t address;
    unsigned life;
    CLOCK clock; /* what those knew who released something here */
    ACCESS write, reads[READS];
    unsigned next;
} CELL;

static CELL *cells; /* NULL: this is not the build for races */
static unsigned life;

static unsigned me(void) { return (unsigned)(world.running - world.threads); }

/* -------------------------------- accesses ------------------------------- */

void races_begin(void) { ++life; }

static CELL *cell_of(uintptr_t address)
{
    size_t i = (address >> 2) * 0x9e3779b97f4a7c15u >> 48;

    while (cells[i].life == life && cells[i].address != address)
        i = (i + 1) % CELLS;
    if (cells[i].life != life) {
        memset(&cells[i], 0, sizeof cells[i]);
        cells[i].life = life;
        cells[i].address = address;
    }
    return &cells[i];
}

static void learn(CLOCK *clock, const CLOCK *from)
{
    int i;

    for (i = 0; i < MAX_THREADS; ++i)
        clock->at[i] = max(clock->at[i], from->at[i]);
}

void clock_release(const volatile void *place)
{
    CLOCK *mine = &world.running->clock;

    if (cells == NULL)
        return;
    learn(&cell_of((uintptr_t)place)->clock, mine);
    ++mine->at[me()];
}

void clock_acquire(const volatile void *place)
{
    if (cells != NULL)
        learn(&world.running->clock, &cell_of((uintptr_t)place)->clock);
}

void memory_is_new(const void *address, size_t size)
{
    uintptr_t at = (uintptr_t)address & ~(uintptr_t)3;

    if (cells == NULL)
        return;
    for (size = size < 8192 ? size : 64; size >= 4; size -= 4, at += 4)
        *cell_of(at) = (CELL){.address = at, .life = life};
}

static BOOL conflicts(const ACCESS *before, BOOL isVolatile)
{
    return before->time != 0 && before->thread != me()
           && !(before->isVolatile && isVolatile)
           && world.running->clock.at[before->thread] < before->time;
}

static void access(const void *address, size_t size, BOOL writes,
                   BOOL isVolatile, const void *where)
{
    uintptr_t at = (uintptr_t)address & ~(uintptr_t)3;
    uintptr_t end = (uintptr_t)address + size;
    ACCESS now;
    int i;

    if (world.running == NULL
        || ((const char *)address >= world.running->stack
            && (const char *)address < world.running->stack + 256 * 1024))
        return;
    now = (ACCESS){me(), world.running->clock.at[me()], isVolatile};
    for (; at < end; at += 4) {
        CELL *cell = cell_of(at);

        if (conflicts(&cell->write, isVolatile))
            blame("a race at %p, with a write of thread %u", where,
                  cell->write.thread);
        for (i = 0; i < READS && writes; ++i)
            if (conflicts(&cell->reads[i], isVolatile))
                blame("a race at %p, with a read of thread %u", where,
                      cell->reads[i].thread);
        if (writes)
            cell->write = now;
        for (i = 0; i < READS && !writes; ++i)
            if (cell->reads[i].thread == me()
                && cell->reads[i].isVolatile == isVolatile)
                break;
        if (!writes)
            cell->reads[i < READS ? i : (int)(cell->next++ % READS)] = now;
    }
}

static void access_volatile(const void *address, size_t size, BOOL writes,
                            const void *where)
{
    if (world.running != NULL)
        point();
    access(address, size, writes, TRUE, where);
}

/* clang-format off */
#define HERE __builtin_return_address(0)
#define HOOKS(n)                                                             \
    void __tsan_read##n(void *p) { access(p, n, FALSE, FALSE, HERE); }       \
    void __tsan_write##n(void *p) { access(p, n, TRUE, FALSE, HERE); }       \
    void __tsan_unaligned_read##n(void *p)                                   \
    { access(p, n, FALSE, FALSE, HERE); }                                    \
    void __tsan_unaligned_write##n(void *p)                                  \
    { access(p, n, TRUE, FALSE, HERE); }                                     \
    void __tsan_volatile_read##n(void *p)                                    \
    { access_volatile(p, n, FALSE, HERE); }                                  \
    void __tsan_volatile_write##n(void *p)                                   \
    { access_volatile(p, n, TRUE, HERE); }
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16)
    /* clang-format on */

    void __tsan_read_range(void *p, size_t size)
{
    access(p, size, FALSE, FALSE, HERE);
}

void __tsan_write_range(void *p, size_t size)
{
    access(p, size, TRUE, FALSE, HERE);
}

void __tsan_init(void)
{
    if (cells == NULL)
        cells = calloc(CELLS, sizeof *cells);
}

void __tsan_func_entry(void *caller) { (void)caller; }
void __tsan_func_exit(void) {}

void *seen_memcpy(void *to, const void *from, size_t size)
{
    access(from, size, FALSE, FALSE, HERE);
    access(to, size, TRUE, FALSE, HERE);
    return memcpy(to, from, size);
}

void *seen_memset(void *to, int byte, size_t size)
{
    access(to, size, TRUE, FALSE, HERE);
    return memset(to, byte, size);
}
