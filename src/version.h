/* version.h - the one place that says which version this is. */
#ifndef VERSION_H
#define VERSION_H

#define PROGRAM_NAME    "iocp_echo_server"
#define PROGRAM_VERSION "1.0.0"

#endif
