/*
 * calls.h - every simulated call, and how it may fail: three codes that its
 * page documents or that are plausible (0: it can't fail), and what may follow.
 * E: the server ends in order, I: it ends at once, N: it goes on.
 */
#pragma once

/* clang-format off */
#define CALLS(X)                                                             \
    X(WSAStartup, 10091, 10092, 10091, E)                                    \
    X(WSACleanup, 10093, 10050, 10093, N)                                    \
    X(WSASocketW, 10055, 10024, 10047, E)                                    \
    X(setsockopt, 10022, 10042, 10050, E)                                    \
    X(getsockopt, 10042, 10050, 10042, E) X(bind, 10048, 10013, 10049, E)    \
    X(listen, 10055, 10048, 10024, E) X(accept, 10054, 10024, 10055, N)      \
    X(getsockname, 10050, 10055, 10050, E)                                   \
    X(getnameinfo, 11001, 11001, 10022, N) X(getaddrinfo, 11001, 11003, 8, E)\
    X(shutdown, 10057, 10053, 10050, N)                                      \
    X(closesocket, 10050, 10004, 10050, N) X(WSARecv, 10054, 10055, 10053, N)\
    X(WSASend, 10054, 10055, 10057, N)                                       \
    X(WSAGetOverlappedResult, 10054, 10050, 10053, N)                        \
    X(SetFileCompletionNotificationModes, 87, 1, 87, N)                      \
    X(CreateIoCompletionPort, 1450, 8, 87, I)                                \
    X(GetQueuedCompletionStatus, 6, 735, 6, I)                               \
    X(GetQueuedCompletionStatusEx, 6, 735, 6, I)                             \
    X(PostQueuedCompletionStatus, 1450, 8, 8, I)                             \
    X(CancelIoEx, 31, 6, 1450, I) X(_beginthreadex, 8, 1450, 8, I)           \
    X(WaitForSingleObject, 6, 5, 6, I) X(WaitForMultipleObjects, 6, 5, 6, I) \
    X(CloseHandle, 6, 6, 6, N) X(CreateEventW, 8, 1450, 8, I)                \
    X(SetEvent, 6, 6, 6, I) X(SetConsoleCtrlHandler, 87, 8, 87, I)           \
    X(GetConsoleMode, 6, 6, 6, N) X(SetConsoleMode, 5, 6, 87, N)             \
    X(GetActiveProcessorCount, 87, 87, 87, N) X(WriteFile, 112, 232, 6, N)   \
    X(CreateFileA, 5, 3, 32, N) X(GetFileType, 6, 6, 1, N)                   \
    X(CreateTimerQueueTimer, 8, 1450, 8, N)                                  \
    X(DeleteTimerQueueTimer, 6, 6, 6, N) X(GetProcAddress, 127, 127, 127, N) \
    X(VirtualAlloc, 8, 1455, 8, N) X(VirtualFree, 487, 487, 487, N)          \
    X(calloc, 8, 8, 8, N) X(free, 0, 0, 0, N)                              \
    X(Sleep, 0, 0, 0, N) X(Acquire, 0, 0, 0, N) X(Release, 0, 0, 0, N)       \
    X(Interlocked, 0, 0, 0, N) X(clock, 0, 0, 0, N) X(exit, 0, 0, 0, N)      \
    X(TerminateProcess, 0, 0, 0, N)
