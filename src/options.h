/* options.h - the command line. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "log.h"
#include "platform.h"

/* What the user asked for; options_parse puts the defaults in first. */
typedef struct {
    SOCKADDR_INET address;   /* where to listen, with the port         */
    BOOL anyAddress;         /* no --bind: every address of this host  */
    DWORD workers;           /* threads on the port; 0: one per CPU    */
    DWORD concurrency;       /* of them running at once; 0: CPU count  */
    DWORD maxConnections;    /* at once; 0: no limit                   */
    DWORD idleTimeout;       /* seconds; 0: never                      */
    DWORD drainTimeout;      /* seconds                                */
    DWORD largestBuffer;     /* bytes                                  */
    DWORD batch;             /* packets a worker takes in one call     */
    DWORD inlineLimit;       /* operations done at once in a row; 0:
                                each gives a packet                    */
    BOOL zeroByteRecv;       /* idle connections have no buffer        */
    DWORD workTime;          /* ms of work for each READ; 0: none      */
    BOOL workSpins;          /* it computes; FALSE: it blocks          */
    DWORD posted;            /* packets to post by hand                */
    const char *traceFile;   /* points into argv; NULL: no trace       */
    LOG_LEVEL logLevel;
} OPTIONS;

typedef enum {
    OPTIONS_RUN,   /* start the server                        */
    OPTIONS_DONE,  /* --help or --version: already printed    */
    OPTIONS_WRONG  /* one line said why: exit status 2        */
} OPTIONS_RESULT;

/*
 * Reads the command line into *options. WSAStartup must have been called
 * (addresses are read with getaddrinfo). argv stays the caller's and has to
 * outlive *options.
 */
OPTIONS_RESULT options_parse(OPTIONS *options, int argc, char **argv);

#endif
