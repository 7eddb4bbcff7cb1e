/*
 * windows.h - what the server's sources use of Windows, for Linux.
 *
 * The types have the sizes that they have on 64-bit Windows (LLP64: a DWORD
 * and a LONG have 32 bits), so "%lu" means a DWORD: the printf family is the
 * simulation's own, which reads formats as Windows does. Names that Linux has
 * too, and those of the C runtime that the simulation stands in for, are
 * renamed at the end.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define WINAPI
#define WSAAPI
#define CALLBACK
#define VOID void

typedef int BOOL, INT;
typedef unsigned char BYTE, BOOLEAN, UCHAR, u_char;
typedef unsigned short WORD, USHORT, u_short;
typedef unsigned DWORD, ULONG, UINT, u_int, GROUP;
typedef int LONG;
typedef long long LONGLONG;
typedef unsigned long long ULONGLONG;
typedef uintptr_t ULONG_PTR, DWORD_PTR, SIZE_T, SOCKET;
typedef void *HANDLE, *HMODULE, *PVOID, *LPVOID;
typedef DWORD *LPDWORD;
typedef char CHAR;
typedef wchar_t WCHAR;
typedef int socklen_t;
typedef intptr_t (*FARPROC)(void);

#define TRUE                 1
#define FALSE                0
#define INFINITE             0xffffffffu
#define INVALID_HANDLE_VALUE ((HANDLE)(intptr_t)-1)
#define INVALID_SOCKET       (~(SOCKET)0)
#define SOCKET_ERROR         (-1)
#define MAKEWORD(low, high)  ((WORD)((low) | (high) << 8))
#define MAKELANGID(a, b)     ((DWORD)((b) << 10 | (a)))
#define ZeroMemory(p, size)  memset((p), 0, (size))

/* ---------------------------------- codes -------------------------------- */

#define NO_ERROR                          0
#define ERROR_SUCCESS                     0
#define ERROR_FILE_NOT_FOUND              2
#define ERROR_PATH_NOT_FOUND              3
#define ERROR_ACCESS_DENIED               5
#define ERROR_INVALID_HANDLE              6
#define ERROR_NOT_ENOUGH_MEMORY           8
#define ERROR_SHARING_VIOLATION           32
#define ERROR_NETNAME_DELETED             64
#define ERROR_INVALID_PARAMETER           87
#define ERROR_DISK_FULL                   112
#define ERROR_INVALID_NAME                123
#define ERROR_PROC_NOT_FOUND              127
#define ERROR_OPERATION_ABORTED           995
#define ERROR_CONNECTION_ABORTED          1236
#define ERROR_IO_PENDING                  997
#define ERROR_NOT_FOUND                   1168
#define ERROR_TIMEOUT                     1460
#define ERROR_NO_SYSTEM_RESOURCES         1450
#define ERROR_ABANDONED_WAIT_0            735
#define WSA_IO_PENDING                    ERROR_IO_PENDING
#define WSA_OPERATION_ABORTED             ERROR_OPERATION_ABORTED
#define WSAEINTR                          10004
#define WSAEACCES                         10013
#define WSAEINVAL                         10022
#define WSAEMFILE                         10024
#define WSAENOTSOCK                       10038
#define WSAENOPROTOOPT                    10042
#define WSAEOPNOTSUPP                     10045
#define WSAEAFNOSUPPORT                   10047
#define WSAEADDRINUSE                     10048
#define WSAEADDRNOTAVAIL                  10049
#define WSAENETDOWN                       10050
#define WSAENETUNREACH                    10051
#define WSAENETRESET                      10052
#define WSAECONNABORTED                   10053
#define WSAECONNRESET                     10054
#define WSAENOBUFS                        10055
#define WSAENOTCONN                       10057
#define WSAETIMEDOUT                      10060
#define WSAEHOSTUNREACH                   10065
#define WSASYSNOTREADY                    10091
#define WSANOTINITIALISED                 10093
#define WAIT_OBJECT_0                     0u
#define WAIT_TIMEOUT                      258u
#define WAIT_FAILED                       0xffffffffu
#define GENERIC_READ                      0x80000000u
#define GENERIC_WRITE                     0x40000000u
#define FILE_SHARE_READ                   1u
#define FILE_SHARE_WRITE                  2u
#define CREATE_ALWAYS                     2u
#define OPEN_EXISTING                     3u
#define FILE_ATTRIBUTE_NORMAL             0x80u
#define FILE_TYPE_DISK                    1u
#define FILE_TYPE_CHAR                    2u
#define FILE_TYPE_PIPE                    3u
#define STD_INPUT_HANDLE                  ((DWORD)-10)
#define STD_OUTPUT_HANDLE                 ((DWORD)-11)
#define STD_ERROR_HANDLE                  ((DWORD)-12)
#define ENABLE_QUICK_EDIT_MODE            0x40u
#define ENABLE_EXTENDED_FLAGS             0x80u
#define CTRL_C_EVENT                      0u
#define CTRL_BREAK_EVENT                  1u
#define CTRL_CLOSE_EVENT                  2u
#define MEM_COMMIT                        0x1000u
#define MEM_RESERVE                       0x2000u
#define MEM_RELEASE                       0x8000u
#define PAGE_READWRITE                    4u
#define WT_EXECUTEDEFAULT                 0u
#define ALL_PROCESSOR_GROUPS              0xffff
#define FORMAT_MESSAGE_FROM_SYSTEM        0x1000u
#define FORMAT_MESSAGE_IGNORE_INSERTS     0x200u
#define FORMAT_MESSAGE_MAX_WIDTH_MASK     0xffu
#define LANG_ENGLISH                      9
#define SUBLANG_ENGLISH_US                1
#define STACK_SIZE_PARAM_IS_A_RESERVATION 0x10000u

/* ------------------------------- structures ------------------------------ */

typedef struct {
    ULONG_PTR Internal, InternalHigh;
    DWORD Offset, OffsetHigh;
    HANDLE hEvent;
} OVERLAPPED, *LPOVERLAPPED;

typedef struct {
    ULONG_PTR lpCompletionKey;
    LPOVERLAPPED lpOverlapped;
    ULONG_PTR Internal;
    DWORD dwNumberOfBytesTransferred;
} OVERLAPPED_ENTRY;

typedef struct {
    void *Ptr;
} SRWLOCK;
#define SRWLOCK_INIT \
    {                \
        NULL         \
    }
typedef struct SLIST_ENTRY {
    struct SLIST_ENTRY *Next;
} SLIST_ENTRY;
typedef struct {
    ULONG_PTR first, depth;
} SLIST_HEADER;
typedef union {
    LONGLONG QuadPart;
} LARGE_INTEGER;
typedef struct {
    DWORD dwNumberOfProcessors;
} SYSTEM_INFO;
typedef struct {
    WORD wYear, wMonth, wDayOfWeek, wDay, wHour, wMinute, wSecond,
        wMilliseconds;
} SYSTEMTIME;
typedef struct {
    DWORD dwOSVersionInfoSize, dwMajorVersion, dwMinorVersion, dwBuildNumber;
} OSVERSIONINFOW, *LPOSVERSIONINFOW;
typedef struct SECURITY_ATTRIBUTES SECURITY_ATTRIBUTES;
typedef BOOL (*PHANDLER_ROUTINE)(DWORD event);
typedef void (*WAITORTIMERCALLBACK)(PVOID parameter, BOOLEAN fired);

/* -------------------------------- Winsock -------------------------------- */

#define AF_UNSPEC           0
#define AF_INET             2
#define AF_INET6            23
#define SOCK_STREAM         1
#define IPPROTO_TCP         6
#define IPPROTO_IPV6        41
#define IPV6_V6ONLY         27
#define TCP_NODELAY         1
#define SOL_SOCKET          0xffff
#define SO_EXCLUSIVEADDRUSE (~4)
#define SO_REUSEADDR        4
#define SO_KEEPALIVE        8
#define SO_ACCEPTCONN       2
#define SO_PROTOCOL_INFOW   0x2005
#define SOMAXCONN           0x7fffffff
#define SD_SEND             1
#define SD_BOTH             2
#define NI_NUMERICHOST      2
#define AI_NUMERICHOST      4
#define INADDR_BROADCAST    0xffffffffu
#define XP1_IFS_HANDLES     0x20000u
#define WSA_FLAG_OVERLAPPED 1u

typedef struct {
    DWORD s_addr;
} IN_ADDR;
typedef struct {
    u_char s6_addr[16];
} IN6_ADDR;
typedef struct {
    u_short sa_family;
    char sa_data[14];
} SOCKADDR;
typedef struct {
    u_short sin_family, sin_port;
    IN_ADDR sin_addr;
    char sin_zero[8];
} SOCKADDR_IN;
typedef struct {
    u_short sin6_family, sin6_port;
    ULONG sin6_flowinfo;
    IN6_ADDR sin6_addr;
    ULONG sin6_scope_id;
} SOCKADDR_IN6;
typedef union {
    SOCKADDR_IN Ipv4;
    SOCKADDR_IN6 Ipv6;
    u_short si_family;
} SOCKADDR_INET;
typedef struct ADDRINFOA {
    int ai_flags, ai_family, ai_socktype, ai_protocol;
    size_t ai_addrlen;
    char *ai_canonname;
    SOCKADDR *ai_addr;
    struct ADDRINFOA *ai_next;
} ADDRINFOA;
typedef struct {
    ULONG len;
    char *buf;
} WSABUF;
typedef struct {
    WORD wVersion;
} WSADATA;
typedef struct {
    DWORD dwServiceFlags1;
} WSAPROTOCOL_INFOW, *LPWSAPROTOCOL_INFOW;
typedef void (*LPWSAOVERLAPPED_COMPLETION_ROUTINE)(DWORD, DWORD, OVERLAPPED *,
                                                   DWORD);

static inline u_short swap_bytes(u_short n)
{
    return (u_short)(n << 8 | n >> 8);
}
#define htons(n) swap_bytes(n)
#define ntohs(n) swap_bytes(n)
#define ntohl(n) __builtin_bswap32(n)

/* A list of all calls: what can fail, and be looked for, has its name here. */
/* clang-format off */
#define CALLS(X)                                                             \
    X(WSAStartup) X(WSACleanup) X(WSASocketW) X(setsockopt) X(getsockopt)    \
    X(bind) X(listen) X(accept) X(getsockname) X(getnameinfo)                \
    X(getaddrinfo) X(shutdown) X(closesocket) X(WSARecv) X(WSASend)          \
    X(WSAGetOverlappedResult) X(SetFileCompletionNotificationModes)          \
    X(CreateIoCompletionPort) X(GetQueuedCompletionStatus)                   \
    X(GetQueuedCompletionStatusEx) X(PostQueuedCompletionStatus)             \
    X(CancelIoEx) X(_beginthreadex) X(WaitForSingleObject)                   \
    X(WaitForMultipleObjects) X(CloseHandle) X(CreateEventW) X(SetEvent)     \
    X(SetConsoleCtrlHandler) X(GetConsoleMode) X(SetConsoleMode)             \
    X(GetActiveProcessorCount) X(WriteFile) X(CreateFileA) X(GetFileType)    \
    X(CreateTimerQueueTimer) X(DeleteTimerQueueTimer) X(GetProcAddress)      \
    X(VirtualAlloc) X(VirtualFree) X(malloc) X(calloc)                       \
    X(free) X(Sleep) X(AcquireSRWLockExclusive) X(ReleaseSRWLockExclusive)   \
    X(Interlocked) X(InterlockedPushEntrySList) X(InterlockedPopEntrySList)  \
    X(clock) X(exit) X(TerminateProcess) X(block)
/* clang-format on */

int WSAStartup(WORD version, WSADATA *data);
int WSACleanup(void);
int WSAGetLastError(void);
SOCKET WSASocketW(int family, int type, int protocol, LPWSAPROTOCOL_INFOW info,
                  GROUP group, DWORD flags);
int simulated_setsockopt(SOCKET sock, int level, int name, const char *value,
                         int size);
int simulated_getsockopt(SOCKET sock, int level, int name, char *value,
                         int *size);
int simulated_bind(SOCKET sock, const SOCKADDR *address, int size);
int simulated_listen(SOCKET sock, int backlog);
SOCKET simulated_accept(SOCKET sock, SOCKADDR *address, int *size);
int simulated_getsockname(SOCKET sock, SOCKADDR *address, int *size);
int simulated_getnameinfo(const SOCKADDR *address, socklen_t size, char *host,
                          DWORD hostSize, char *service, DWORD serviceSize,
                          int flags);
int simulated_getaddrinfo(const char *name, const char *service,
                          const ADDRINFOA *hints, ADDRINFOA **found);
void simulated_freeaddrinfo(ADDRINFOA *found);
int simulated_shutdown(SOCKET sock, int how);
int closesocket(SOCKET sock);
int WSARecv(SOCKET sock, WSABUF *buffers, DWORD count, DWORD *bytes,
            DWORD *flags, OVERLAPPED *overlapped,
            LPWSAOVERLAPPED_COMPLETION_ROUTINE routine);
int WSASend(SOCKET sock, WSABUF *buffers, DWORD count, DWORD *bytes,
            DWORD flags, OVERLAPPED *overlapped,
            LPWSAOVERLAPPED_COMPLETION_ROUTINE routine);
BOOL WSAGetOverlappedResult(SOCKET sock, OVERLAPPED *overlapped, DWORD *bytes,
                            BOOL wait, DWORD *flags);

/* ------------------------------ the rest of it --------------------------- */

BOOL SetFileCompletionNotificationModes(HANDLE file, UCHAR modes);
HANDLE CreateIoCompletionPort(HANDLE file, HANDLE port, ULONG_PTR key,
                              DWORD threads);
BOOL GetQueuedCompletionStatus(HANDLE port, DWORD *bytes, ULONG_PTR *key,
                               OVERLAPPED **overlapped, DWORD milliseconds);
BOOL GetQueuedCompletionStatusEx(HANDLE port, OVERLAPPED_ENTRY *entries,
                                 ULONG count, ULONG *removed,
                                 DWORD milliseconds, BOOL alertable);
BOOL PostQueuedCompletionStatus(HANDLE port, DWORD bytes, ULONG_PTR key,
                                OVERLAPPED *overlapped);
BOOL CancelIoEx(HANDLE file, OVERLAPPED *overlapped);

uintptr_t _beginthreadex(void *security, unsigned stack,
                         unsigned (*start)(void *), void *argument,
                         unsigned flags, unsigned *id);
extern unsigned long _doserrno;
DWORD WaitForSingleObject(HANDLE handle, DWORD milliseconds);
DWORD WaitForMultipleObjects(DWORD count, const HANDLE *handles, BOOL all,
                             DWORD milliseconds);
BOOL CloseHandle(HANDLE handle);
HANDLE CreateEventW(SECURITY_ATTRIBUTES *security, BOOL manual, BOOL set,
                    const WCHAR *name);
BOOL SetEvent(HANDLE event);
void Sleep(DWORD milliseconds);
DWORD GetCurrentThreadId(void);
HANDLE GetCurrentProcess(void);
BOOL TerminateProcess(HANDLE process, UINT status);
DWORD GetLastError(void);

void InitializeSRWLock(SRWLOCK *lock);
void AcquireSRWLockExclusive(SRWLOCK *lock);
void ReleaseSRWLockExclusive(SRWLOCK *lock);
LONG InterlockedExchange(volatile LONG *target, LONG value);
LONG InterlockedCompareExchange(volatile LONG *target, LONG value,
                                LONG comparand);
LONG InterlockedIncrement(volatile LONG *target);
LONG InterlockedDecrement(volatile LONG *target);
void *InterlockedCompareExchangePointer(void *volatile *target, void *value,
                                        void *comparand);
void *InterlockedExchangePointer(void *volatile *target, void *value);
void InitializeSListHead(SLIST_HEADER *list);
SLIST_ENTRY *InterlockedPushEntrySList(SLIST_HEADER *list, SLIST_ENTRY *entry);
SLIST_ENTRY *InterlockedPopEntrySList(SLIST_HEADER *list);
USHORT QueryDepthSList(SLIST_HEADER *list);

BOOL SetConsoleCtrlHandler(PHANDLER_ROUTINE handler, BOOL add);
BOOL GetConsoleMode(HANDLE console, DWORD *mode);
BOOL SetConsoleMode(HANDLE console, DWORD mode);
HANDLE GetStdHandle(DWORD which);
BOOL WriteFile(HANDLE file, const void *data, DWORD size, DWORD *written,
               OVERLAPPED *overlapped);
HANDLE CreateFileA(const char *name, DWORD access, DWORD share,
                   SECURITY_ATTRIBUTES *security, DWORD creation, DWORD flags,
                   HANDLE model);
DWORD GetFileType(HANDLE file);
BOOL CreateTimerQueueTimer(HANDLE *timer, HANDLE queue,
                           WAITORTIMERCALLBACK callback, void *parameter,
                           DWORD due, DWORD period, ULONG flags);
BOOL DeleteTimerQueueTimer(HANDLE queue, HANDLE timer, HANDLE event);
HMODULE GetModuleHandleW(const WCHAR *name);
FARPROC GetProcAddress(HMODULE module, const char *name);
LPVOID VirtualAlloc(LPVOID address, SIZE_T size, DWORD type, DWORD protection);
BOOL VirtualFree(LPVOID address, SIZE_T size, DWORD type);
DWORD GetTickCount(void);
ULONGLONG GetTickCount64(void);
BOOL QueryPerformanceCounter(LARGE_INTEGER *now);
BOOL QueryPerformanceFrequency(LARGE_INTEGER *frequency);
void GetSystemTime(SYSTEMTIME *now);
void GetSystemInfo(SYSTEM_INFO *info);
DWORD GetActiveProcessorCount(WORD group);
DWORD FormatMessageA(DWORD flags, const void *source, DWORD code,
                     DWORD language, char *text, DWORD size, va_list *args);

void *simulated_malloc(size_t size);
void *simulated_calloc(size_t count, size_t size);
void simulated_free(void *block);
_Noreturn void simulated_exit(int status);
int simulated_snprintf(char *text, size_t size, const char *format, ...);
int simulated_vsnprintf(char *text, size_t size, const char *format,
                        va_list args);
void *seen_memcpy(void *to, const void *from, size_t size);
void *seen_memset(void *to, int byte, size_t size);

#define setsockopt   simulated_setsockopt
#define getsockopt   simulated_getsockopt
#define bind         simulated_bind
#define listen       simulated_listen
#define accept       simulated_accept
#define getsockname  simulated_getsockname
#define getnameinfo  simulated_getnameinfo
#define getaddrinfo  simulated_getaddrinfo
#define freeaddrinfo simulated_freeaddrinfo
#define shutdown     simulated_shutdown

#ifndef SIMULATION /* the server's sources only */
#define malloc    simulated_malloc
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
