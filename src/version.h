/* version.h - the one place that says which version this is: to the C files
 * and to the resource compiler. */
#pragma once

#define VERSION_MAJOR 1
#define VERSION_MINOR 0
#define VERSION_PATCH 0

/* Two steps, or the text would have the macros' names in it. And one piece: not
 * every resource compiler joins "1" "." "0". */
#define VERSION_TEXT(number) #number
/* NOLINTNEXTLINE(bugprone-macro-parentheses): they would get into the text */
#define VERSION_JOIN(major, minor, patch) VERSION_TEXT(major.minor.patch)

#define PROGRAM_NAME "iocp_echo_server"
#define PROGRAM_VERSION \
    VERSION_JOIN(VERSION_MAJOR, VERSION_MINOR, VERSION_PATCH)
