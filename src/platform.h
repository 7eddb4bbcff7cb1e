/*
 * platform.h - the Windows headers, in the one order that works.
 *
 * winsock2.h must come before windows.h, which would otherwise bring in the
 * old winsock.h. 0x0A00 is Windows 10, the oldest system that is supported.
 */
#pragma once

#define _WIN32_WINNT 0x0A00
#define WIN32_LEAN_AND_MEAN

#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>

/* What older headers lack, written as the newer ones have it. */
#define FILE_SKIP_COMPLETION_PORT_ON_SUCCESS 0x1
#define SOMAXCONN_HINT(b)                    (-(b))
