/*
 * vcruntime.h - what the headers of Microsoft's C runtime and SDK need of
 * Visual C++, where there is none. They include it under several names;
 * msvc.py maps all of them to this file.
 */
#pragma once

#include <sal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* Those of Microsoft's annotations that clang can check at a call. */
#undef _Check_return_
#define _Check_return_ __attribute__((warn_unused_result))
#undef _Must_inspect_result_
#define _Must_inspect_result_ __attribute__((warn_unused_result))

typedef int EXCEPTION_DISPOSITION;
typedef int _crt_argv_mode;
typedef int jmp_buf[16];

#define __CRTDECL                  __cdecl
#define __crt_va_start(list, last) va_start(list, last)
#define __crt_va_end(list)         va_end(list)
#define _VCRTIMP
#define _CRT_BEGIN_C_HEADER
#define _CRT_END_C_HEADER
#define _CRT_UNPARENTHESIZE_(...) __VA_ARGS__
#define _CRT_UNPARENTHESIZE(...)  _CRT_UNPARENTHESIZE_ __VA_ARGS__

/* What cl warns of as C4996. */
#define _CRT_DEPRECATE_TEXT(text) __declspec(deprecated(text))
#define _CRT_INSECURE_DEPRECATE(instead) \
    _CRT_DEPRECATE_TEXT("unsafe: consider " #instead)
#define _CRT_INSECURE_DEPRECATE_MEMORY(instead)

void *memcpy(void *to, const void *from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
int memcmp(const void *left, const void *right, size_t count);
char *strchr(const char *in, int letter);
char *strrchr(const char *in, int letter);
