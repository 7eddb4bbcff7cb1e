/*
 * checked.h - puts the server's calls under a test's control.
 *
 * The compiler includes it before every source of a test build (gcc's -include,
 * cl's /FI). It renames the calls of Windows, Winsock and the C runtime to
 * those in faults.c, which make the same calls, and do what the environment
 * asks for:
 *
 *   FAULTS="WSASend:/3:10055,accept:2:10024"
 *       Calls fail. This is a list of CALL:WHEN:CODE. WHEN is N (only the Nth
 *       call), N-M (the Nth to the Mth), N+ (the Nth and all later ones) or /N
 *       (every Nth). CODE is what GetLastError or WSAGetLastError returns
 *       then. Or it is "short": WSASend and WSARecv transfer half, and
 *       getsockopt shows a socket that is no IFS handle. Or it is "late":
 *       CancelIoEx reports success, but the operation goes on; closesocket
 *       waits half a second before it closes the listening socket.
 *   COUNTS=FILE
 *       At its end the server appends a line to FILE, with the number of calls
 *       of each of those below: WSARecv=12 WSASend=5 ... Then buffer.c keeps
 *       what is given back, as in any other build.
 *   ASKED=FILE
 *       Each call that a test asks about appends a line to FILE, with its
 *       thread and the arguments that matter; so does each call of the
 *       console's handler by the system. This shows what Wine does not: a
 *       backlog, a console's mode, a wait.
 *   SEND_BUFFER=BYTES
 *       SO_SNDBUF of the sockets that are accepted.
 *   TOGETHER=N
 *       One thread takes N packets that were posted by hand, in one call of
 *       GetQueuedCompletionStatusEx. No thread begins such a call before they
 *       are posted, and the first one that does is alone.
 */
#ifndef CHECKED_H
#define CHECKED_H

#include "../../src/platform.h"

/* buffer.c keeps no buffers: it frees what is given back. */
unsigned fault_kept_bytes(void);
#define KEPT_BYTES fault_kept_bytes()
#define FULL_READS 256

/* log.c reports a repeated failure after a second, not after a minute. */
#ifndef REPEAT_INTERVAL
#define REPEAT_INTERVAL 1000u
#endif

#include <process.h>
#include <stdlib.h>

/* Several in a line, as many as fit. */
/* clang-format off */
#define FAULT_CALLS(X)                                                       \
    X(WSAStartup) X(WSACleanup) X(WSASocketW) X(setsockopt) X(bind)          \
    X(listen) X(accept) X(getsockname) X(getnameinfo) X(getaddrinfo)         \
    X(shutdown) X(closesocket) X(WSARecv) X(WSASend) X(getsockopt)           \
    X(WSAGetOverlappedResult) X(SetFileCompletionNotificationModes)          \
    X(CreateIoCompletionPort) X(GetQueuedCompletionStatus)                   \
    X(GetQueuedCompletionStatusEx) X(PostQueuedCompletionStatus)             \
    X(CancelIoEx) X(_beginthreadex) X(WaitForSingleObject) X(CloseHandle)    \
    X(SetConsoleCtrlHandler) X(GetActiveProcessorCount) X(WriteFile)         \
    X(calloc) X(CreateFileA) X(CreateTimerQueueTimer)                        \
    X(DeleteTimerQueueTimer) X(GetProcAddress) X(VirtualAlloc)               \
    X(VirtualFree) X(CreateEventW) X(SetEvent) X(WaitForMultipleObjects)     \
    X(GetFileType) X(GetConsoleMode) X(SetConsoleMode)
/* These can't fail. They are counted, and some recorded for ASKED. */
#define SURE_CALLS(X)                                                        \
    X(free) X(AcquireSRWLockExclusive) X(ReleaseSRWLockExclusive) X(Sleep)
/* clang-format on */

int WSAAPI fault_WSAStartup(WORD version, WSADATA *data);
int WSAAPI fault_WSACleanup(void);
SOCKET WSAAPI fault_WSASocketW(int family, int type, int protocol,
                               LPWSAPROTOCOL_INFOW info, GROUP group,
                               DWORD flags);
int WSAAPI fault_setsockopt(SOCKET sock, int level, int name,
                            const char *value, int size);
int WSAAPI fault_getsockopt(SOCKET sock, int level, int name, char *value,
                            int *size);
int WSAAPI fault_bind(SOCKET sock, const SOCKADDR *address, int size);
int WSAAPI fault_listen(SOCKET sock, int backlog);
SOCKET WSAAPI fault_accept(SOCKET sock, SOCKADDR *address, int *size);
int WSAAPI fault_getsockname(SOCKET sock, SOCKADDR *address, int *size);
int WSAAPI fault_getnameinfo(const SOCKADDR *address, socklen_t size,
                             char *host, DWORD hostSize, char *service,
                             DWORD serviceSize, int flags);
int WSAAPI fault_getaddrinfo(const char *name, const char *service,
                             const ADDRINFOA *hints, ADDRINFOA **found);
int WSAAPI fault_shutdown(SOCKET sock, int how);
int WSAAPI fault_closesocket(SOCKET sock);
int WSAAPI fault_WSARecv(SOCKET sock, WSABUF *buffers, DWORD count,
                         DWORD *bytes, DWORD *flags, OVERLAPPED *overlapped,
                         LPWSAOVERLAPPED_COMPLETION_ROUTINE routine);
int WSAAPI fault_WSASend(SOCKET sock, WSABUF *buffers, DWORD count,
                         DWORD *bytes, DWORD flags, OVERLAPPED *overlapped,
                         LPWSAOVERLAPPED_COMPLETION_ROUTINE routine);
BOOL WSAAPI fault_WSAGetOverlappedResult(SOCKET sock, OVERLAPPED *overlapped,
                                         DWORD *bytes, BOOL wait,
                                         DWORD *flags);
BOOL WINAPI fault_SetFileCompletionNotificationModes(HANDLE file, UCHAR modes);
HANDLE WINAPI fault_CreateIoCompletionPort(HANDLE file, HANDLE port,
                                           ULONG_PTR key, DWORD threads);
BOOL WINAPI fault_GetQueuedCompletionStatus(HANDLE port, DWORD *bytes,
                                            ULONG_PTR *key,
                                            OVERLAPPED **overlapped,
                                            DWORD milliseconds);
BOOL WINAPI fault_GetQueuedCompletionStatusEx(
    HANDLE port, OVERLAPPED_ENTRY *entries, ULONG count, ULONG *removed,
    DWORD milliseconds, BOOL alertable);
BOOL WINAPI fault_PostQueuedCompletionStatus(HANDLE port, DWORD bytes,
                                             ULONG_PTR key,
                                             OVERLAPPED *overlapped);
BOOL WINAPI fault_CancelIoEx(HANDLE file, OVERLAPPED *overlapped);
uintptr_t fault__beginthreadex(void *security, unsigned stack,
                               unsigned(WINAPI *start)(void *), void *arg,
                               unsigned flags, unsigned *id);
DWORD WINAPI fault_WaitForSingleObject(HANDLE handle, DWORD milliseconds);
BOOL WINAPI fault_CloseHandle(HANDLE handle);
BOOL WINAPI fault_SetConsoleCtrlHandler(PHANDLER_ROUTINE handler, BOOL add);
DWORD WINAPI fault_GetActiveProcessorCount(WORD group);
BOOL WINAPI fault_WriteFile(HANDLE file, const void *data, DWORD size,
                            DWORD *written, OVERLAPPED *overlapped);
HANDLE WINAPI fault_CreateFileA(const char *name, DWORD access, DWORD share,
                                SECURITY_ATTRIBUTES *security, DWORD creation,
                                DWORD flags, HANDLE model);
BOOL WINAPI fault_CreateTimerQueueTimer(HANDLE *timer, HANDLE queue,
                                        WAITORTIMERCALLBACK callback,
                                        void *parameter, DWORD due,
                                        DWORD period, ULONG flags);
BOOL WINAPI fault_DeleteTimerQueueTimer(HANDLE queue, HANDLE timer,
                                        HANDLE event);
FARPROC WINAPI fault_GetProcAddress(HMODULE module, const char *name);
LPVOID WINAPI fault_VirtualAlloc(LPVOID address, SIZE_T size, DWORD type,
                                 DWORD protection);
BOOL WINAPI fault_VirtualFree(LPVOID address, SIZE_T size, DWORD type);
HANDLE WINAPI fault_CreateEventW(SECURITY_ATTRIBUTES *security, BOOL manual,
                                 BOOL set, const wchar_t *name);
BOOL WINAPI fault_SetEvent(HANDLE event);
DWORD WINAPI fault_WaitForMultipleObjects(DWORD count, const HANDLE *handles,
                                          BOOL all, DWORD milliseconds);
DWORD WINAPI fault_GetFileType(HANDLE file);
BOOL WINAPI fault_GetConsoleMode(HANDLE console, DWORD *mode);
BOOL WINAPI fault_SetConsoleMode(HANDLE console, DWORD mode);
void *fault_calloc(size_t count, size_t size);

void fault_free(void *block);
void WINAPI fault_AcquireSRWLockExclusive(SRWLOCK *lock);
void WINAPI fault_ReleaseSRWLockExclusive(SRWLOCK *lock);
void WINAPI fault_Sleep(DWORD milliseconds);

#ifndef CHECKED_REAL /* faults.c calls the real ones */
#define WSAStartup             fault_WSAStartup
#define WSACleanup             fault_WSACleanup
#define WSASocketW             fault_WSASocketW
#define setsockopt             fault_setsockopt
#define getsockopt             fault_getsockopt
#define bind                   fault_bind
#define listen                 fault_listen
#define accept                 fault_accept
#define getsockname            fault_getsockname
#define getnameinfo            fault_getnameinfo
#define getaddrinfo            fault_getaddrinfo
#define shutdown               fault_shutdown
#define closesocket            fault_closesocket
#define WSARecv                fault_WSARecv
#define WSASend                fault_WSASend
#define WSAGetOverlappedResult fault_WSAGetOverlappedResult
#define SetFileCompletionNotificationModes \
    fault_SetFileCompletionNotificationModes
#define CreateIoCompletionPort      fault_CreateIoCompletionPort
#define GetQueuedCompletionStatus   fault_GetQueuedCompletionStatus
#define GetQueuedCompletionStatusEx fault_GetQueuedCompletionStatusEx
#define PostQueuedCompletionStatus  fault_PostQueuedCompletionStatus
#define CancelIoEx                  fault_CancelIoEx
#define _beginthreadex              fault__beginthreadex
#define WaitForSingleObject         fault_WaitForSingleObject
#define CloseHandle                 fault_CloseHandle
#define SetConsoleCtrlHandler       fault_SetConsoleCtrlHandler
#define GetActiveProcessorCount     fault_GetActiveProcessorCount
#define WriteFile                   fault_WriteFile
#define AcquireSRWLockExclusive     fault_AcquireSRWLockExclusive
#define ReleaseSRWLockExclusive     fault_ReleaseSRWLockExclusive
#define CreateFileA                 fault_CreateFileA
#define CreateTimerQueueTimer       fault_CreateTimerQueueTimer
#define DeleteTimerQueueTimer       fault_DeleteTimerQueueTimer
#define GetProcAddress              fault_GetProcAddress
#define VirtualAlloc                fault_VirtualAlloc
#define VirtualFree                 fault_VirtualFree
#define CreateEventW                fault_CreateEventW
#define SetEvent                    fault_SetEvent
#define WaitForMultipleObjects      fault_WaitForMultipleObjects
#define GetFileType                 fault_GetFileType
#define GetConsoleMode              fault_GetConsoleMode
#define SetConsoleMode              fault_SetConsoleMode
#define Sleep                       fault_Sleep
#define calloc                      fault_calloc
#define free                        fault_free
#endif

#endif
