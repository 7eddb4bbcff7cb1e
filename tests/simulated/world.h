/*
 * world.h - the simulated computer, on which the server lives one life, and
 * what the simulation's files share.
 *
 * scheduler.c  who runs next, and what time it is
 * thread.c     handles, events, threads, locks
 * port.c       the completion port
 * socket.c     sockets: what the server calls
 * network.c    sockets: what the kernel and the wire do meanwhile
 * client.c     the clients, and the user at the keyboard
 * system.c     memory, files, console, timers, clocks
 * checks.c     what must hold, and what is excused
 * scenario.c   reads what a life is
 * races.c      vector clocks, and every access to memory
 * main.c       runs one life after the other
 *
 * A life changes only `world`, which is all zero before it, and the server's
 * own variables, which main.c puts back.
 */
#pragma once

#include "calls.h"
#include "include/process.h"

#include <sanitizer/asan_interface.h>

#define MAX_THREADS 48
#define MAX_CLIENTS 10
#define MAX_OBJECTS 128
#define MAX_PACKETS 512
#define MAX_OPS     4    /* of a socket; the server should have one         */
#define MAX_BLOCKS  512
#define MAX_FAULTS  3
#define MAX_HOLDS   6
#define MAX_CHANGES 6
#define MAX_PRESSES 8
#define NEVER       UINT64_MAX
#define MS          1000u /* of simulated time, which is in microseconds    */

typedef uint64_t TIME, RANDOM;

/* What Windows permits. Each is explained where the simulation does it. */
/* clang-format off */
#define LIBERTIES(X)                                                         \
    X(at_once) X(early) X(short_send) X(cut) X(late_cancel) X(codes)         \
    X(release) X(tick) X(dead_accept) X(blocks) X(destroy)          \
    X(lateness) X(fail_later) X(freeze)
#define LIBERTY_NAME(name) MAY_##name,
typedef enum { LIBERTIES(LIBERTY_NAME) LIBERTY_COUNT } LIBERTY;
#define CALL_NAME(name, a, b, c, kind) CALL_##name,
typedef enum { CALLS(CALL_NAME) CALL_COUNT } CALL;
typedef enum {
    NOTHING, EVENT, THREAD_HANDLE, PORT, LISTENER, SOCKET_HANDLE, FILE_HANDLE,
    CONSOLE, OUTPUT
} KIND;
typedef enum { UNUSED, READY, WAITING, ENDED } THREAD_STATE;
typedef enum { AWAY, CONNECTED, GONE } CLIENT_STATE;
typedef struct { unsigned at[MAX_THREADS]; } CLOCK;  /* see races.c */
/* clang-format on */

typedef struct {
    OVERLAPPED *overlapped;  /* NULL: this place is free                    */
    char *buffer;            /* the kernel's until the packet is taken      */
    DWORD size, moved;
    BOOL writes, cancelled;
} OP;

/* A completed operation, or a packet posted by hand. */
typedef struct {
    OP op;
    DWORD code;
    ULONG_PTR key;
    struct CLIENT *client;   /* NULL: posted by hand                        */
} PACKET;

/* What a handle stands for. */
typedef struct OBJECT {
    KIND kind;
    BOOL manual, set;        /* an event                                    */
    struct THREAD *thread;
    struct CLIENT *client;   /* a socket's                                  */
    ULONG_PTR key;
    BOOL associated, skips, finSent, listens;
    int backlog;
    OP ops[MAX_OPS];
} OBJECT;

typedef struct THREAD {
    THREAD_STATE state;
    void *sp;
    char *stack;
    const char *role;
    int number;
    unsigned (*start)(void *argument);
    void *argument;
    BOOL (*ready)(void *object);  /* what it waits for                      */
    void *object;
    TIME wakeAt;
    DWORD error;
    CALL call;                    /* the last one that it made              */
    BOOL held;                    /* a handle of it is open                 */
    BOOL onPort;                  /* it has waited on the port, so counts   */
    BOOL served;                  /* the port has given it `packet`         */
    PACKET packet;
    unsigned waitsSince;          /* for last in, first out                 */
    CLOCK clock;
} THREAD;

/* What a life is: lives.py packs these words, and all is zero that a life does
 * not name. Times are in microseconds.
 *   order         the seed of all chance; 0: a scripted life, without any
 *   expected      the status of a command line that is `wrong`, only prints
 *   eager         operations end at once where they can
 *   early         the first Ctrl+C does not wait for quiet, but for a step
 *   patience, second, third: the time between quiet and the three Ctrl+C
 *   priorities    PCT; 0: a random walk, in which a thread stays, in percent
 *   blocks        a thread is preempted after about so many; 0: never
 *   inTurn        who has not run for longest runs
 *   transit       how long what the server sends takes at least
 * A client sends `total` bytes, `chunk` at once, at most `window` unechoed;
 * `stopsReading` and `resetsAt` are bytes, `room` is between the two. */
/* clang-format off */
#define SCENARIO_WORDS(X)                                                    \
    X(order) X(cpus) X(concurrency) X(limit) X(idle) X(drain) X(lent)        \
    X(quiet) X(noIpv6) X(wrong) X(expected) X(eager) X(bootedAt)             \
    X(blocksForEver) X(resumes) X(hasConsole) X(quickEdit) X(story)          \
    X(presses) X(event) X(early) X(pressStep) X(patience) X(second) X(third) \
    X(priorities) X(stay) X(blocks) X(liberties) X(clients) X(inTurn)        \
    X(transit)
#define CLIENT_WORDS(X)                                                      \
    X(total) X(chunk) X(window) X(room) X(stopsReading) X(resetsAt)          \
    X(halfCloses) X(neverStops) X(floods) X(staysSilent) X(slow) X(pause)    \
    X(wakeAt)
#define AS_FIELD(name) uint64_t name;
/* clang-format on */

/* Which call fails: the first time, then each `every` times (0: no other), with
 * which of its codes. */
typedef struct {
    uint64_t call, first, every, pick;
} FAULT;

/* A place in a scripted life: a thread makes a call for the n-th time. `who` is
 * its number, or the first letter of its role. */
typedef struct {
    uint64_t who, call, nth, seen;
} PLACE;

/* Holds the thread that comes to a place until another one comes to its own, or
 * nobody else can go on, or one waits for its lock. */
typedef struct {
    PLACE at, until;
} HOLD;

typedef struct {
    CLIENT_WORDS(AS_FIELD)
} MANNERS;

typedef struct {
    char name[80], options[400];
    SCENARIO_WORDS(AS_FIELD)
    uint64_t changes[MAX_CHANGES];  /* steps at which a priority is lowered */
    FAULT faults[MAX_FAULTS];
    HOLD holds[MAX_HOLDS];
    PLACE press;             /* scripted: here the user presses Ctrl+C      */
    MANNERS manners[MAX_CLIENTS];
} SCENARIO;

/* Bytes are only counted: their place in the stream gives their value. */
typedef struct CLIENT {
    CLIENT_WORDS(AS_FIELD)  /* first, as in MANNERS                         */
    int number;
    CLIENT_STATE state;
    OBJECT *sock;                   /* the server's end, or NULL            */
    unsigned sent, arrived, taken;  /* client to server                     */
    unsigned echoed, read;          /* server to client                     */
    BOOL fin, finArrived, finTaken, reset, resetArrived;  /* the client's   */
    BOOL serverFin, finRead, serverReset;                 /* the server's   */
    BOOL lost;                      /* and the echo on its way with it      */
    /* For the checks: */
    unsigned received, written, discarded;  /* in packets that were taken   */
    BOOL accepted, everIdle, lent, everLent, failed, faulted, closed, lingered;
    TIME postedAt, ownedAt, takenAt, cameAt, silentSince;
    DWORD timeouts;
} CLIENT;

typedef struct {
    void *address;
    size_t size;
    BOOL pages, kept;
} BLOCK;

typedef struct {
    uint64_t hash;
    RANDOM order, liberty;
    SCENARIO scenario;
    TIME now, stalled, frozen, lastActivity, closedAt;
    unsigned steps, untilPreempted;
    THREAD threads[MAX_THREADS], *running;
    int threadCount, status;
    unsigned priorities[MAX_THREADS + 2 * MAX_CLIENTS + 2], lowest;

    OBJECT objects[MAX_OBJECTS];
    OBJECT *port, *listener;
    DWORD portLimit, portRunning;
    PACKET queue[MAX_PACKETS];
    unsigned first, packets, waits;

    CLIENT clients[MAX_CLIENTS], *backlog[MAX_CLIENTS];
    unsigned waiting, accepted;
    BOOL winsock, listened, quiet, outputStops;
    BOOL lost;               /* the server itself has begun the stop        */

    PHANDLER_ROUTINE handler;
    unsigned pressed;
    TIME pressAt, pressedAt[MAX_PRESSES];
    DWORD consoleMode;

    WAITORTIMERCALLBACK callback;
    void *timerParameter;
    DWORD period;
    TIME due;
    int callbacks;

    BLOCK blocks[MAX_BLOCKS];
    unsigned blockCount;
    unsigned calls[CALL_COUNT], failures[CALL_COUNT], failed, forgiven;

    unsigned long long taken;    /* packets of operations                   */
    unsigned long long totals[5], completions;  /* as the server tells them */
    BOOL stopped, ready;
    unsigned lines, errors;
    char lastError[4200];
} WORLD;

extern WORLD world;
extern FILE *traces;  /* where the traces of --trace go                   */

/* ------------------------------ scheduler.c ------------------------------ */

uint64_t draw(RANDOM *random);
unsigned below(RANDOM *random, unsigned limit);

/* Whether this liberty is taken now, one time in `oneIn`. */
BOOL may(LIBERTY liberty, unsigned oneIn);

/* point() lets another thread, a client or the network go on. Each call begins
 * with one. enter() returns the code with which the call must fail, or 0. CALL
 * makes the call return `result` then. */
void point(void);
DWORD enter(CALL call);
BOOL denied(CALL call);
#define CALL(name, result)   \
    if (denied(CALL_##name)) \
    return result

/* Sets the thread's error. Returns FALSE. */
BOOL fails(DWORD code);

/* Waits until ready(object), at most `milliseconds`. Returns whether it is
 * ready. nothing() never is. */
BOOL wait_for(BOOL (*ready)(void *), void *object, DWORD milliseconds);
BOOL nothing(void *unused);
void something_moves(TIME time);  /* it is not quiet before then */

THREAD *thread_start(const char *role, unsigned (*start)(void *),
                     void *argument);
void schedule_begin(void);
int live(int (*start)(void));  /* from start to end; returns the status */
_Noreturn void life_ends(int status);
void hold_ends(THREAD *thread);

/* ------------------------------ the others ------------------------------- */

OBJECT *object_open(KIND kind);
HANDLE object_handle(const OBJECT *object);
OBJECT *object_at(HANDLE handle);  /* of any kind */
OBJECT *object_of(HANDLE handle, KIND kind);
void object_close(OBJECT *object);

void timer_fires(void);
void memory_end(void);
/* Forbid the server to touch memory, and permit it again. */
#define kernel_takes __asan_poison_memory_region
#define kernel_gives __asan_unpoison_memory_region

void port_put(const PACKET *packet);
void port_blocks(THREAD *thread);  /* a running thread begins to wait */
void port_resumes(THREAD *thread);

void op_ends(OBJECT *sock, OP *op, DWORD code);
DWORD op_move(CLIENT *client, OP *op, BOOL atOnce);
BOOL network_can(const CLIENT *client);
void network_step(CLIENT *client);
void connection_reset(CLIENT *client);
BOOL client_can(const CLIENT *client);
void client_step(CLIENT *client);
TIME client_wakes(void);
BOOL user_can(void);
void user_step(void);
void user_presses_again(void);
unsigned handler_main(void *unused);

_Noreturn void blame(const char *format, ...);
void tell(const char *format, ...);
void check_quiet(void);
void check_line(BOOL error, const char *text, DWORD size);
void check_post(CLIENT *client, DWORD timeouts, BOOL lent);
void check_taken(const PACKET *packet);
void note_silent(CLIENT *client);
void check_cancel(CLIENT *client, const OP *op);
void check_shutdown(CLIENT *client);
void check_close(const OBJECT *sock);
void check_client(CLIENT *client);
void check_time(void);
void check_end(int status);
const char *call_name(CALL call);

BOOL scenario_read(void);
DWORD fault_code(CALL call);

void clock_release(const volatile void *place);
void clock_acquire(const volatile void *place);
void memory_is_new(const void *address, size_t size);
void races_begin(void);
