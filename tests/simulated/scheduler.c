/*
 * scheduler.c - who runs next, and what time it is.
 *
 * One thread of the simulated process runs at a time; each has its own stack.
 * At each point the scheduler chooses among all that can go on: threads,
 * clients, their connections' network, the timer, the user. Half of the seeds
 * choose at random. The other half give each a priority, run the highest, and
 * lower it at a few steps (PCT: Burckhardt and others, ASPLOS 2010).
 */
#include "world.h"

#include <sanitizer/common_interface_defs.h>
#include <sys/mman.h>

#define STACK_SIZE    (256u * 1024u)
#define MAX_STEPS     1000000u
#define PCT_STEPS     8000u /* then it walks at random, which is fair         */
#define TICK          15625u /* us                                             */
#define QUIET         (2000u * MS)
#define FIRST_CLIENT  MAX_THREADS
#define FIRST_NETWORK (FIRST_CLIENT + MAX_CLIENTS)
#define TIMER         (FIRST_NETWORK + MAX_CLIENTS)
#define USER          (TIMER + 1)
#define ACTORS        (USER + 1)

WORLD world;

static char *stacks;
static THREAD host;
static size_t hostSize;
static int (*program)(void);

/* -------------------------------- chance --------------------------------- */

uint64_t draw(RANDOM *random) /* SplitMix64 */
{
    uint64_t z = *random += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

unsigned below(RANDOM *random, unsigned limit)
{
    if (world.scenario.order == 0)  /* scripted: no chance */
        return 0;
    return (unsigned)((draw(random) >> 32) * limit >> 32);
}

BOOL may(LIBERTY liberty, unsigned oneIn)
{
    BOOL yes = below(&world.liberty, oneIn) == 0;

    return yes && (world.scenario.liberties >> liberty & 1) != 0;
}

/* -------------------------------- fibres --------------------------------- */

/* Saves the registers that a call must preserve on the old stack, and continues
 * on the new one. */
void fibre_switch(void **from, void *to);
__asm__(".text\n"
        ".globl fibre_switch\n"
        "fibre_switch:\n"
        "    push %rbp\n    push %rbx\n    push %r12\n    push %r13\n"
        "    push %r14\n    push %r15\n"
        "    mov %rsp, (%rdi)\n"
        "    mov %rsi, %rsp\n"
        "    pop %r15\n    pop %r14\n    pop %r13\n    pop %r12\n"
        "    pop %rbx\n    pop %rbp\n"
        "    ret\n");

static void switch_to(THREAD *from, THREAD *to)
{
    void *fake = NULL;

    world.running = to == &host ? NULL : to;
    __sanitizer_start_switch_fiber(&fake, to->stack,
                                   to == &host ? hostSize : STACK_SIZE);
    fibre_switch(&from->sp, to->sp);
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
}

static void schedule(void);

static void fibre_main(void)
{
    THREAD *me = world.running;
    const void *bottom;
    size_t size;

    __sanitizer_finish_switch_fiber(NULL, &bottom, &size);
    if (host.stack == NULL) {
        host.stack = (char *)bottom;
        hostSize = size;
    }
    clock_acquire(me);
    me->start(me->argument);
    tell("ends");
    clock_release(me);
    me->state = ENDED;
    port_blocks(me);
    schedule();
    abort();
}

THREAD *thread_start(const char *role, unsigned (*start)(void *),
                     void *argument)
{
    THREAD *thread = world.threads;
    int number = thread->state == UNUSED ? 0 : ++world.threadCount;
    void **top;

    /* A timer's or handler's place is used again; its clock stays. */
    while (thread->state != UNUSED
           && (thread->state != ENDED || thread->held
               || thread == world.running))
        if (++thread == world.threads + MAX_THREADS)
            blame("more threads than %d", MAX_THREADS);
    thread->stack = stacks + (size_t)(thread - world.threads) * STACK_SIZE;
    __asan_unpoison_memory_region(thread->stack, STACK_SIZE);
    top = (void **)(void *)(thread->stack + STACK_SIZE) - 2;
    *top = (void *)fibre_main;
    *thread = (THREAD){.state = READY,
                       .sp = top - 6,
                       .stack = thread->stack,
                       .role = role,
                       .number = number,
                       .start = start,
                       .argument = argument,
                       .clock = thread->clock};
    return thread;
}

_Noreturn void life_ends(int status)
{
    THREAD unused;

    world.status = status;
    switch_to(&unused, &host);
    abort();
}

static unsigned main_thread(void *unused) { life_ends(program()); }

int live(int (*start)(void))
{
    if (stacks == NULL)
        stacks = mmap(NULL, (size_t)STACK_SIZE * MAX_THREADS,
                      PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    program = start;
    world.running = &world.threads[0];
    thread_start("main", main_thread, NULL);
    world.threads[0].clock.at[0] = 1;
    switch_to(&host, &world.threads[0]);
    return world.status;
}

/* --------------------------------- choice -------------------------------- */

static BOOL thread_can(const THREAD *thread)
{
    return thread->state == READY
           || (thread->state == WAITING
               && (world.now >= thread->wakeAt
                   || thread->ready(thread->object)));
}

static TIME next_time(void)
{
    TIME next = client_wakes();
    int i;

    for (i = 0; i < MAX_THREADS; ++i)
        if (world.threads[i].state == WAITING
            && world.threads[i].wakeAt < next)
            next = world.threads[i].wakeAt;
    if (world.due != 0 && world.due < next)
        next = world.due;
    return world.handler != NULL && world.pressAt < next ? world.pressAt
                                                         : next;
}

/* ----------------------------- scripted lives ---------------------------- */

/* Whether the running thread comes to this place with this call. */
static BOOL comes_to(PLACE *place, CALL call)
{
    const THREAD *me = world.running;

    return place->nth > 0 && place->call == call
           && (place->who == (unsigned)me->number
               || place->who == (unsigned)me->role[0])
           && ++place->seen == place->nth;
}

static BOOL hold_is_over(void *pHold)
{
    const PLACE *until = &((HOLD *)pHold)->until;

    return until->seen >= until->nth;
}

void hold_ends(THREAD *thread)
{
    if (thread->state == WAITING && thread->ready == hold_is_over)
        ((HOLD *)thread->object)->until.nth = 0;
}

/* Returns a thread that is held, or NULL. */
static THREAD *held(void)
{
    THREAD *thread;

    for (thread = world.threads; thread < world.threads + MAX_THREADS;
         ++thread)
        if (thread->state == WAITING && thread->ready == hold_is_over)
            return thread;
    return NULL;
}

/* Does not run this thread from the next point on, until it is ready. The port
 * still counts it as running. */
static void stop_here(BOOL (*ready)(void *), void *object, TIME wakeAt)
{
    world.running->ready = ready;
    world.running->object = object;
    world.running->wakeAt = wakeAt;
    world.running->state = WAITING;
}

static void follow_script(CALL call)
{
    SCENARIO *scenario = &world.scenario;
    HOLD *hold = scenario->holds;

    (void)comes_to(&scenario->press, call);
    for (; hold < scenario->holds + MAX_HOLDS; ++hold) {
        (void)comes_to(&hold->until, call);
        if (!comes_to(&hold->at, call))
            continue;
        tell("is held as it calls %s", call_name(call));
        stop_here(hold_is_over, hold, NEVER);
    }
}

/* --------------------------------- time ---------------------------------- */

/* Lets time pass when nobody can go on. If nothing moves by itself any more and
 * no client waits for a time, it is quiet, and the user acts. */
static void pass_time(void)
{
    TIME next;

    if (world.outputStops)
        user_presses_again();
    next = next_time();
    if (!world.quiet && client_wakes() == NEVER
        && (next == NEVER || next > world.lastActivity + QUIET)) {
        check_quiet();
        world.quiet = TRUE;
        if (world.pressed == 0)
            world.pressAt = world.now + world.scenario.patience;
    }
    next = next_time();
    if (next == NEVER && held() == NULL)
        blame("nobody can go on");
    if (next == NEVER)
        hold_ends(held());
    else if (next > world.now) {
        world.stalled += held() != NULL ? next - world.now : 0;
        world.now = next;
    }
    check_time();
}

static int list_actors(int *actors)
{
    int i, count = 0;

    for (i = 0; i < MAX_THREADS; ++i)
        if (world.threads[i].state != UNUSED && thread_can(&world.threads[i]))
            actors[count++] = i;
    for (i = 0; i < (int)world.scenario.clients; ++i) {
        if (client_can(&world.clients[i]))
            actors[count++] = FIRST_CLIENT + i;
        if (network_can(&world.clients[i]))
            actors[count++] = FIRST_NETWORK + i;
    }
    if (world.due != 0 && world.now >= world.due)
        actors[count++] = TIMER;
    if (user_can())
        actors[count++] = USER;
    return count;
}

static int choose(void)
{
    const SCENARIO *scenario = &world.scenario;
    int actors[ACTORS], count, i, best;

    while ((count = list_actors(actors)) == 0)
        pass_time();
    if (scenario->inTurn
        || (scenario->priorities && world.steps < PCT_STEPS)) {
        for (best = actors[0], i = 1; i < count; ++i)
            if (world.priorities[actors[i]] > world.priorities[best])
                best = actors[i];
        if (scenario->inTurn)
            world.priorities[best] = --world.lowest;
        return best;
    }
    i = (int)(world.running - world.threads);
    if (world.running->state == READY
        && below(&world.order, 100) < scenario->stay)
        return i;
    return actors[below(&world.order, (unsigned)count)];
}

static void act(int actor)
{
    if (actor == USER)
        user_step();
    else if (actor == TIMER)
        timer_fires();
    else if (actor >= FIRST_NETWORK)
        network_step(&world.clients[actor - FIRST_NETWORK]);
    else
        client_step(&world.clients[actor - FIRST_CLIENT]);
}

/* Lets others go on until it is this thread's turn again. */
static void schedule(void)
{
    THREAD *me = world.running;

    for (;;) {
        int actor = choose();

        world.hash = (world.hash ^ (unsigned)actor) * 0x100000001b3u;
        if (actor < MAX_THREADS) {
            THREAD *next = &world.threads[actor];

            next->state = READY;
            if (next != me)
                switch_to(me, next);
            return;
        }
        if (++world.steps > MAX_STEPS)
            blame("%u steps, and no end", MAX_STEPS);
        act(actor);
    }
}

void schedule_begin(void)
{
    size_t i;

    for (i = 0; i < sizeof world.priorities / sizeof *world.priorities; ++i)
        world.priorities[i] = 0x40000000
                              + (world.scenario.inTurn
                                     ? 0
                                     : (unsigned)(draw(&world.order) >> 36));
    world.lowest = 0x40000000;
    world.untilPreempted = 1
                           + below(&world.order,
                                   (unsigned)world.scenario.blocks);
}

/* --------------------------------- points -------------------------------- */

BOOL nothing(void *unused) { return FALSE; }

void something_moves(TIME time)
{
    if (world.lastActivity < time)
        world.lastActivity = time;
}

/* Delays this thread alone. */
static void freeze(void)
{
    TIME time = below(&world.liberty, 3000) * MS;

    if (world.frozen + time > 5000 * MS)
        return;
    tell("does not run for %u ms", (unsigned)(time / MS));
    world.frozen += time;
    world.stalled += time;
    stop_here(nothing, NULL, world.now + time);
    something_moves(world.now + time);
}

void point(void)
{
    const SCENARIO *scenario = &world.scenario;
    size_t i;

    if (++world.steps > MAX_STEPS)
        blame("%u steps, and no end", MAX_STEPS);
    for (i = 0; i < MAX_CHANGES; ++i)
        if (scenario->changes[i] == world.steps)
            world.priorities[world.running - world.threads] = --world.lowest;
    if (may(MAY_freeze, world.running->start == handler_main ? 10
                        : world.pressed > 0                  ? 200
                                                             : 1000))
        freeze();
    schedule();
}

DWORD enter(CALL call)
{
    world.hash = (world.hash ^ (unsigned)call) * 0x100000001b3u;
    world.running->call = call;
    ++world.calls[call];
    /* The server has just looked at what others may change now. */
    if ((call == CALL_CancelIoEx || call == CALL_SetConsoleMode)
        && may(MAY_freeze, 8))
        freeze();
    follow_script(call);
    point();
    return fault_code(call);
}

/* Returns when a wait ends: up to a tick early or late. Microsoft's page on
 * Sleep: "The system clock ticks at a constant rate", and a wait "can be
 * anywhere between one and two ticks". */
static TIME wake_time(DWORD milliseconds)
{
    TIME end = world.now + (TIME)milliseconds * MS;

    if (milliseconds == INFINITE)
        return NEVER;
    if (may(MAY_tick, 2) && milliseconds > 16)
        return end - below(&world.liberty, TICK);
    return may(MAY_lateness, 4) ? end + below(&world.liberty, TICK) : end;
}

BOOL wait_for(BOOL (*ready)(void *), void *object, DWORD milliseconds)
{
    THREAD *me = world.running;

    if (!ready(object)) {
        me->ready = ready;
        me->object = object;
        me->wakeAt = wake_time(milliseconds);
        me->state = WAITING;
        port_blocks(me);
        schedule();
        port_resumes(me);
        me->object = NULL;
    }
    return ready(object);
}

BOOL denied(CALL call)
{
    DWORD code = enter(call);

    return code != 0 && !fails(code);
}

BOOL fails(DWORD code)
{
    world.running->error = code;
    return FALSE;
}

/* The compiler calls this in each block of the server's sources, so that a
 * thread may be preempted there too. */
void __sanitizer_cov_trace_pc(void);
unsigned char *covered; /* by place in the program; NULL: not asked for */
extern char __executable_start[];

void __sanitizer_cov_trace_pc(void)
{
    if (covered != NULL)
        covered[(char *)__builtin_return_address(0) - __executable_start] = 1;
    if (world.scenario.blocks == 0 || world.running == NULL)
        return;
    if (--world.untilPreempted == 0) {
        world.untilPreempted = 1
                               + below(&world.order,
                                       2 * (unsigned)world.scenario.blocks);
        point();
    }
}
