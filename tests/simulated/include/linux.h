/*
 * linux.h - comes before all other headers, and fits Wine's to Linux.
 *
 * Wine's headers have the sizes of 64-bit Windows on Linux, too (LLP64: a DWORD
 * and a LONG have 32 bits). So "%lu" means a DWORD, and the simulation has its
 * own printf family, which reads formats as Windows does. Here its calls become
 * functions of Linux, and the sources use its own where the headers or Linux's
 * C runtime have something else.
 */
#pragma once

#include <windef.h>
#undef __stdcall
#define __stdcall
#include "../../../src/platform.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef htons
#undef ntohs
#undef htonl
#undef ntohl
#define htons __builtin_bswap16
#define ntohs __builtin_bswap16
#define htonl __builtin_bswap32
#define ntohl __builtin_bswap32

#undef InterlockedExchange
#undef InterlockedExchangeAdd
#undef InterlockedCompareExchange
#undef InterlockedCompareExchangePointer
#define InterlockedExchange               simulated_exchange
#define InterlockedExchangeAdd            simulated_exchange_add
#define InterlockedCompareExchange        simulated_compare_exchange
#define InterlockedCompareExchangePointer simulated_compare_pointers

LONG simulated_exchange(volatile LONG *, LONG);
LONG simulated_exchange_add(volatile LONG *, LONG);
LONG simulated_compare_exchange(volatile LONG *, LONG, LONG comparand);
void *simulated_compare_pointers(void *volatile *, void *, void *comparand);
void *simulated_calloc(size_t count, size_t);
void simulated_free(void *);
_Noreturn void simulated_exit(int status);
int simulated_snprintf(char *, size_t, const char *, ...);
int simulated_vsnprintf(char *, size_t, const char *, va_list);
void *seen_memcpy(void *, const void *, size_t);
void *seen_memset(void *, int, size_t);

#ifndef SIMULATION  /* the server's sources only */
#define calloc    simulated_calloc
#define free      simulated_free
#define exit      simulated_exit
#define snprintf  simulated_snprintf
#define vsnprintf simulated_vsnprintf
#define main      server_main
#ifdef RACES
#define memcpy seen_memcpy
#define memset seen_memset
#endif
#endif
