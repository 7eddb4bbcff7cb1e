/*
 * windows.h - the part of Windows that the server's sources use, for Linux.
 *
 * The types have the sizes of 64-bit Windows (LLP64: a DWORD and a LONG have 32
 * bits). So "%lu" means a DWORD, and the simulation has its own printf family,
 * which reads formats as Windows does. The end renames the calls of the C
 * runtime that the simulation replaces. The names of the sockets' calls hide
 * those of Linux, whose headers nothing includes.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/* clang-format off */

#define WINAPI
#define WSAAPI
#define CALLBACK

typedef void VOID, *HANDLE, *HMODULE, *PVOID, *LPVOID;
typedef int BOOL, INT, LONG, socklen_t;
typedef unsigned char BYTE, BOOLEAN, UCHAR, u_char;
typedef unsigned short WORD, USHORT, u_short;
typedef unsigned DWORD, ULONG, UINT, u_int, GROUP, *LPDWORD;
typedef long long LONGLONG;
typedef unsigned long long ULONGLONG;
typedef uintptr_t ULONG_PTR, SIZE_T, SOCKET;
typedef wchar_t WCHAR;
typedef intptr_t (*FARPROC)(void);

enum {
    FALSE, TRUE, NO_ERROR = 0, WAIT_OBJECT_0 = 0, WAIT_TIMEOUT = 258,
    ERROR_FILE_NOT_FOUND = 2, ERROR_PATH_NOT_FOUND, ERROR_ACCESS_DENIED = 5,
    ERROR_INVALID_HANDLE, ERROR_NOT_ENOUGH_MEMORY = 8,
    ERROR_SHARING_VIOLATION = 32, ERROR_NETNAME_DELETED = 64,
    ERROR_INVALID_PARAMETER = 87, ERROR_DISK_FULL = 112,
    ERROR_INVALID_NAME = 123, ERROR_PROC_NOT_FOUND = 127,
    ERROR_OPERATION_ABORTED = 995, WSA_IO_INCOMPLETE, WSA_IO_PENDING,
    ERROR_NOT_FOUND = 1168, ERROR_CONNECTION_ABORTED = 1236,
    ERROR_TIMEOUT = 1460, WSAEINTR = 10004, WSAEACCES = 10013,
    WSAEINVAL = 10022, WSAEMFILE = 10024, WSAENOTSOCK = 10038,
    WSAENOPROTOOPT = 10042, WSAEOPNOTSUPP = 10045, WSAEAFNOSUPPORT = 10047,
    WSAEADDRINUSE, WSAEADDRNOTAVAIL, WSAENETDOWN, WSAENETUNREACH,
    WSAENETRESET, WSAECONNABORTED, WSAECONNRESET, WSAENOBUFS,
    WSAENOTCONN = 10057, WSAETIMEDOUT = 10060, WSAEHOSTUNREACH = 10065,
    WSAHOST_NOT_FOUND = 11001
};
enum {
    FILE_SHARE_READ = 1, FILE_SHARE_WRITE, CREATE_ALWAYS = 2, OPEN_EXISTING,
    FILE_ATTRIBUTE_NORMAL = 0x80, FILE_TYPE_DISK = 1,
    STD_OUTPUT_HANDLE = -11, STD_ERROR_HANDLE = -12,
    CTRL_C_EVENT = 0, CTRL_BREAK_EVENT, CTRL_CLOSE_EVENT,
    MEM_COMMIT = 0x1000, MEM_RESERVE = 0x2000, MEM_RELEASE = 0x8000,
    PAGE_READWRITE = 4, WT_EXECUTEDEFAULT = 0, ALL_PROCESSOR_GROUPS = 0xffff,
    FORMAT_MESSAGE_FROM_SYSTEM = 0x1000, FORMAT_MESSAGE_IGNORE_INSERTS = 0x200,
    FORMAT_MESSAGE_MAX_WIDTH_MASK = 0xff, LANG_ENGLISH = 9,
    SUBLANG_ENGLISH_US = 1, STACK_SIZE_PARAM_IS_A_RESERVATION = 0x10000,
    AF_UNSPEC = 0, AF_INET = 2, AF_INET6 = 23, SOCK_STREAM = 1,
    IPPROTO_TCP = 6, IPPROTO_IPV6 = 41, IPV6_V6ONLY = 27, TCP_NODELAY = 1,
    SOL_SOCKET = 0xffff, SO_EXCLUSIVEADDRUSE = ~4, SO_REUSEADDR = 4,
    SO_KEEPALIVE = 8, SO_ACCEPTCONN = 2, SO_PROTOCOL_INFOW = 0x2005,
    SOMAXCONN = 0x7fffffff, SD_SEND = 1, SD_BOTH, NI_NUMERICHOST = 2,
    AI_NUMERICHOST = 4, XP1_IFS_HANDLES = 0x20000, WSA_FLAG_OVERLAPPED = 1
};
#define INFINITE               0xffffffffu
#define WAIT_FAILED            0xffffffffu
#define INADDR_BROADCAST       0xffffffffu
#define GENERIC_READ           0x80000000u
#define GENERIC_WRITE          0x40000000u
#define ENABLE_QUICK_EDIT_MODE 0x40u
#define ENABLE_EXTENDED_FLAGS  0x80u
#define INVALID_HANDLE_VALUE   ((HANDLE)(intptr_t)-1)
#define INVALID_SOCKET         (~(SOCKET)0)
#define SOCKET_ERROR           (-1)
#define MAKEWORD(low, high)    ((WORD)((low) | (high) << 8))
#define MAKELANGID(a, b)       ((DWORD)((b) << 10 | (a)))
#define ZeroMemory(p, size)    memset((p), 0, (size))
#define htons(n)               __builtin_bswap16(n)
#define ntohs(n)               __builtin_bswap16(n)
#define ntohl(n)               __builtin_bswap32(n)

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
typedef struct { void *Ptr; } SRWLOCK;
#define SRWLOCK_INIT {NULL}
typedef struct SLIST_ENTRY { struct SLIST_ENTRY *Next; } SLIST_ENTRY;
typedef struct { ULONG_PTR first, depth; } SLIST_HEADER;
typedef struct { LONGLONG QuadPart; } LARGE_INTEGER;
typedef struct { WORD wYear, wMonth, wDay, wHour, wMinute, wSecond; } SYSTEMTIME;
typedef struct SECURITY_ATTRIBUTES SECURITY_ATTRIBUTES;
typedef BOOL (*PHANDLER_ROUTINE)(DWORD event);
typedef void (*WAITORTIMERCALLBACK)(PVOID parameter, BOOLEAN fired);

typedef struct { DWORD s_addr; } IN_ADDR;
typedef struct { u_char s6_addr[16]; } IN6_ADDR;
typedef struct { u_short sa_family; char sa_data[14]; } SOCKADDR;
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
typedef struct {
    int ai_flags, ai_family, ai_socktype;
    size_t ai_addrlen;
    SOCKADDR *ai_addr;
} ADDRINFOA;
typedef struct { ULONG len; char *buf; } WSABUF;
typedef struct { WORD wVersion; } WSADATA;
typedef struct { DWORD dwServiceFlags1; } WSAPROTOCOL_INFOW, *LPWSAPROTOCOL_INFOW;
typedef void (*ROUTINE)(DWORD, DWORD, OVERLAPPED *, DWORD);

/* ---------------------------------- calls -------------------------------- */

int WSAStartup(WORD, WSADATA *);
int WSACleanup(void);
int WSAGetLastError(void);
SOCKET WSASocketW(int, int, int, LPWSAPROTOCOL_INFOW, GROUP, DWORD);
int setsockopt(SOCKET, int level, int name, const char *, int size);
int getsockopt(SOCKET, int level, int name, char *, int *size);
int bind(SOCKET, const SOCKADDR *, int size);
int listen(SOCKET, int backlog);
SOCKET accept(SOCKET, SOCKADDR *, int *size);
int getsockname(SOCKET, SOCKADDR *, int *size);
int getnameinfo(const SOCKADDR *, socklen_t, char *, DWORD, char *, DWORD, int);
int getaddrinfo(const char *, const char *, const ADDRINFOA *, ADDRINFOA **);
void freeaddrinfo(ADDRINFOA *);
int shutdown(SOCKET, int how);
int closesocket(SOCKET);
int WSARecv(SOCKET, WSABUF *, DWORD, DWORD *, DWORD *, OVERLAPPED *, ROUTINE);
int WSASend(SOCKET, WSABUF *, DWORD, DWORD *, DWORD, OVERLAPPED *, ROUTINE);
BOOL WSAGetOverlappedResult(SOCKET, OVERLAPPED *, DWORD *, BOOL wait, DWORD *);

BOOL SetFileCompletionNotificationModes(HANDLE, UCHAR);
HANDLE CreateIoCompletionPort(HANDLE file, HANDLE port, ULONG_PTR, DWORD);
BOOL GetQueuedCompletionStatus(HANDLE, DWORD *, ULONG_PTR *, OVERLAPPED **, DWORD);
BOOL GetQueuedCompletionStatusEx(HANDLE, OVERLAPPED_ENTRY *, ULONG, ULONG *, DWORD, BOOL);
BOOL PostQueuedCompletionStatus(HANDLE, DWORD, ULONG_PTR, OVERLAPPED *);
BOOL CancelIoEx(HANDLE, OVERLAPPED *);

extern unsigned long _doserrno;
uintptr_t _beginthreadex(void *, unsigned, unsigned (*)(void *), void *, unsigned, unsigned *);
DWORD WaitForSingleObject(HANDLE, DWORD);
DWORD WaitForMultipleObjects(DWORD, const HANDLE *, BOOL all, DWORD);
BOOL CloseHandle(HANDLE);
HANDLE CreateEventW(SECURITY_ATTRIBUTES *, BOOL manual, BOOL set, const WCHAR *);
BOOL SetEvent(HANDLE);
void Sleep(DWORD);
DWORD GetCurrentThreadId(void);
HANDLE GetCurrentProcess(void);
BOOL TerminateProcess(HANDLE, UINT);
DWORD GetLastError(void);
void SetLastError(DWORD);
void InitializeSRWLock(SRWLOCK *);
void AcquireSRWLockExclusive(SRWLOCK *);
void ReleaseSRWLockExclusive(SRWLOCK *);
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
LONG InterlockedExchange(volatile LONG *, LONG);
LONG InterlockedExchangeAdd(volatile LONG *, LONG);
LONG InterlockedCompareExchange(volatile LONG *, LONG, LONG comparand);
void *InterlockedCompareExchangePointer(void *volatile *, void *, void *comparand);
void InitializeSListHead(SLIST_HEADER *);
SLIST_ENTRY *InterlockedPushEntrySList(SLIST_HEADER *, SLIST_ENTRY *);
SLIST_ENTRY *InterlockedPopEntrySList(SLIST_HEADER *);
USHORT QueryDepthSList(SLIST_HEADER *);

BOOL SetConsoleCtrlHandler(PHANDLER_ROUTINE, BOOL add);
BOOL GetConsoleMode(HANDLE, DWORD *);
BOOL SetConsoleMode(HANDLE, DWORD);
HANDLE GetStdHandle(DWORD);
BOOL WriteFile(HANDLE, const void *, DWORD, DWORD *, OVERLAPPED *);
HANDLE CreateFileA(const char *, DWORD, DWORD, SECURITY_ATTRIBUTES *, DWORD, DWORD, HANDLE);
DWORD GetFileType(HANDLE);
BOOL CreateTimerQueueTimer(HANDLE *, HANDLE, WAITORTIMERCALLBACK, void *, DWORD due, DWORD period, ULONG);
BOOL DeleteTimerQueueTimer(HANDLE queue, HANDLE timer, HANDLE event);
DWORD GetActiveProcessorCount(WORD);
HMODULE GetModuleHandleW(const WCHAR *);
FARPROC GetProcAddress(HMODULE, const char *);
LPVOID VirtualAlloc(LPVOID, SIZE_T, DWORD, DWORD);
BOOL VirtualFree(LPVOID, SIZE_T, DWORD);
DWORD GetTickCount(void);
ULONGLONG GetTickCount64(void);
BOOL QueryPerformanceCounter(LARGE_INTEGER *);
BOOL QueryPerformanceFrequency(LARGE_INTEGER *);
void GetSystemTime(SYSTEMTIME *);
DWORD FormatMessageA(DWORD, const void *, DWORD code, DWORD, char *, DWORD size, va_list *);

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
