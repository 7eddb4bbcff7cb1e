/* options.h - the command line. */
#pragma once

#include "log.h"
#include "platform.h"

#define BUF_SIZE    4096u  /* bytes of a small buffer                      */
#define MAX_BUFFER  1048576u
#define MAX_BATCH   256u   /* packets a worker takes in one call, at most  */
#define MAX_WORKERS 1024u

/* What the user asked for; options_parse puts the defaults in first. */
typedef struct {
    SOCKADDR_INET address;   /* where to listen, with the port;
                                AF_UNSPEC: every address of this host  */
    DWORD cpus;              /* of this computer                       */
    DWORD workers;           /* threads on the port                    */
    DWORD concurrency;       /* of them running at once                */
    DWORD maxConnections;    /* at once; 0: no limit                   */
    DWORD idleTimeout;       /* ms; 0: never                           */
    DWORD drainTimeout;      /* seconds                                */
    DWORD largestBuffer;     /* bytes                                  */
    DWORD lentBuffers;       /* MiB of larger buffers at once          */
    DWORD batch;             /* packets a worker takes in one call     */
    DWORD inlineLimit;       /* operations done at once in a row; 0:
                                each gives a packet                    */
    DWORD zeroByteRecv;      /* TRUE: idle connections have no buffer  */
    DWORD workTime;          /* ms of work for each READ; 0: none      */
    BOOL workSpins;          /* it computes; FALSE: it blocks          */
    DWORD posted;            /* packets to post by hand                */
    const char *traceFile;   /* points into argv; NULL: no trace       */
    DWORD logLevel;          /* a LOG_LEVEL                            */
} OPTIONS;

/* What to do next; all but the first are the exit status. */
typedef enum {
    OPTIONS_RUN = -1,  /* start the server                        */
    OPTIONS_DONE = 0,  /* --help or --version: already printed    */
    OPTIONS_WRONG = 2  /* one line said why                       */
} OPTIONS_RESULT;

/*
 * Reads the command line into *options. WSAStartup must have been called
 * (addresses are read with getaddrinfo). argv stays the caller's and must
 * outlive *options.
 */
OPTIONS_RESULT options_parse(OPTIONS *options, int argc, char **argv);
