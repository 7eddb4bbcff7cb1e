/*
 * platform.h - the Windows headers, in the one order that works.
 *
 * winsock2.h must come before windows.h, which would otherwise bring in the
 * old winsock.h. 0x0601 (Windows 7) is the oldest system whose functions are
 * used: GetActiveProcessorCount appeared there.
 */
#pragma once

#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0601
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif

#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>

/* What older headers lack. */
#ifndef FILE_SKIP_COMPLETION_PORT_ON_SUCCESS
#define FILE_SKIP_COMPLETION_PORT_ON_SUCCESS 0x1
#endif
#ifndef SOMAXCONN_HINT
#define SOMAXCONN_HINT(backlog) (-(backlog))
#endif
