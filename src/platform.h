/*
 * platform.h - the Windows headers, in the one order that works.
 *
 * winsock2.h has to come before windows.h, which would otherwise bring in the
 * old winsock.h. 0x0601 (Windows 7) is the oldest system this server is for:
 * it is where the last function it calls, GetActiveProcessorCount, appeared.
 */
#ifndef PLATFORM_H
#define PLATFORM_H

#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0601
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif

#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>

#ifndef FILE_SKIP_COMPLETION_PORT_ON_SUCCESS  /* as in Wine 8's headers */
#define FILE_SKIP_COMPLETION_PORT_ON_SUCCESS 0x1
#endif

#endif
