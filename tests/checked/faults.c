/* faults.c - calls that fail when they are told to. See checked.h. */
#define CHECKED_REAL
#include "checked.h"

#include <stdio.h>
#include <string.h>

#define SHORT (-1)  /* the code of "short" */

typedef struct {
    const char *name;
    char when;  /* 0 never, '=' the nth, '+' from the nth on, '/' every nth */
    LONG n;
    int code;
    volatile LONG calls;
} RULE;

enum {
#define NUMBER(call) CALL_##call,
    FAULT_CALLS(NUMBER) FAULT_COUNT
};

enum {
    LAST_FAULT = FAULT_COUNT - 1,
    SURE_CALLS(NUMBER) CALL_COUNT
#undef NUMBER
};

static RULE rules[CALL_COUNT] = {
#define ROW(call) {#call, '\0', 0, 0, 0},
    FAULT_CALLS(ROW) SURE_CALLS(ROW)
#undef ROW
};

static INIT_ONCE once = INIT_ONCE_STATIC_INIT;

/* ------------------------------- the report ------------------------------ */

static void report(void)
{
    char line[2048];
    size_t i, length = 0;

    for (i = 0; i < CALL_COUNT; ++i)
        length += (size_t)snprintf(line + length, sizeof line - length,
                                   "%s=%ld%c", rules[i].name, rules[i].calls,
                                   i + 1 < CALL_COUNT ? ' ' : '\n');
    append_line("COUNTS", line, length);
    guard_report();
}

/* --------------------------------- rules --------------------------------- */

/* A wrong FAULTS would be a test that tests nothing. */
static void give_up(const char *text)
{
    fprintf(stderr, "faults: can't read '%s'\n", text);
    TerminateProcess(GetCurrentProcess(), 99);
}

static void read_rule(char *text)
{
    char *when = strchr(text, ':');
    char *code = when != NULL ? strchr(when + 1, ':') : NULL;
    char *end;
    size_t i;

    if (code == NULL) {
        give_up(text);
        return;
    }
    *when++ = '\0';
    *code++ = '\0';
    for (i = 0; i < FAULT_COUNT && strcmp(rules[i].name, text) != 0; ++i)
        ;
    if (i == FAULT_COUNT) {
        give_up(text);
        return;
    }
    rules[i].when = *when == '/' ? '/' : '=';
    rules[i].n = strtol(when + (*when == '/'), &end, 10);
    if (*end == '+' && *when != '/') {
        rules[i].when = '+';
        ++end;
    }
    if (rules[i].n <= 0 || *end != '\0')
        give_up(when);
    rules[i].code = SHORT;
    if (strcmp(code, "short") == 0)
        return;
    rules[i].code = (int)strtol(code, &end, 10);
    if (*code == '\0' || *end != '\0')
        give_up(code);
}

static BOOL CALLBACK read_rules(INIT_ONCE *unused, void *argument,
                                void **context)
{
    static char text[1024];
    DWORD length = GetEnvironmentVariableA("FAULTS", text, sizeof text);
    char *rule, *next;

    (void)unused, (void)argument, (void)context;
    if (atexit(report) != 0)
        give_up("atexit");
    if (length >= sizeof text)
        give_up("FAULTS, which is too long");
    for (rule = length > 0 ? text : NULL; rule != NULL; rule = next) {
        next = strchr(rule, ',');
        if (next != NULL)
            *next++ = '\0';
        read_rule(rule);
    }
    return TRUE;
}

/* --------------------------------- calls --------------------------------- */

/* Counts a call; TRUE if it is to fail (or be short, with *code SHORT). */
static BOOL due(size_t call, int *code)
{
    RULE *rule = &rules[call];
    LONG n;

    InitOnceExecuteOnce(&once, read_rules, NULL, NULL);
    n = InterlockedIncrement(&rule->calls);
    if (rule->when == '\0')
        return FALSE;
    *code = rule->code;
    if (rule->when == '/')
        return n % rule->n == 0;
    return rule->when == '+' ? n >= rule->n : n == rule->n;
}

static void count(size_t call) { InterlockedIncrement(&rules[call].calls); }

/* The same, and sets both last errors, which are one on Windows. */
static BOOL fails(size_t call)
{
    int code;

    if (!due(call, &code))
        return FALSE;
    WSASetLastError(code);
    SetLastError((DWORD)code);
    return TRUE;
}

/* -------------------------------- Winsock -------------------------------- */

int WSAAPI fault_WSAStartup(WORD version, WSADATA *data)
{
    int code;

    return due(CALL_WSAStartup, &code) ? code : WSAStartup(version, data);
}

/* What gives something back does it even when it then says that it failed:
 * else the test would find the leak that it made. */
int WSAAPI fault_WSACleanup(void)
{
    int result = WSACleanup();

    return fails(CALL_WSACleanup) ? SOCKET_ERROR : result;
}

int WSAAPI fault_closesocket(SOCKET sock)
{
    int result;

    delay();
    guard_closing((HANDLE)sock);
    result = closesocket(sock);
    return fails(CALL_closesocket) ? SOCKET_ERROR : result;
}

SOCKET WSAAPI fault_WSASocketW(int family, int type, int protocol,
                               LPWSAPROTOCOL_INFOW info, GROUP group,
                               DWORD flags)
{
    return fails(CALL_WSASocketW)
               ? INVALID_SOCKET
               : (SOCKET)guard_opened((HANDLE)WSASocketW(
                   family, type, protocol, info, group, flags));
}

int WSAAPI fault_setsockopt(SOCKET sock, int level, int name,
                            const char *value, int size)
{
    return fails(CALL_setsockopt) ? SOCKET_ERROR
                                  : setsockopt(sock, level, name, value, size);
}

int WSAAPI fault_getsockopt(SOCKET sock, int level, int name, char *value,
                            int *size)
{
    WSAPROTOCOL_INFOW *info = (WSAPROTOCOL_INFOW *)(void *)value;
    int result, code;

    if (!due(CALL_getsockopt, &code))
        return getsockopt(sock, level, name, value, size);
    if (code != SHORT || name != SO_PROTOCOL_INFOW) {
        WSASetLastError(code);
        return SOCKET_ERROR;
    }
    result = getsockopt(sock, level, name, value, size);
    info->dwServiceFlags1 &= ~(DWORD)XP1_IFS_HANDLES;
    return result;
}

int WSAAPI fault_bind(SOCKET sock, const SOCKADDR *address, int size)
{
    return fails(CALL_bind) ? SOCKET_ERROR : bind(sock, address, size);
}

int WSAAPI fault_listen(SOCKET sock, int backlog)
{
    return fails(CALL_listen) ? SOCKET_ERROR : listen(sock, backlog);
}

SOCKET WSAAPI fault_accept(SOCKET sock, SOCKADDR *address, int *size)
{
    return fails(CALL_accept)
               ? INVALID_SOCKET
               : (SOCKET)guard_opened((HANDLE)accept(sock, address, size));
}

int WSAAPI fault_getsockname(SOCKET sock, SOCKADDR *address, int *size)
{
    return fails(CALL_getsockname) ? SOCKET_ERROR
                                   : getsockname(sock, address, size);
}

int WSAAPI fault_getnameinfo(const SOCKADDR *address, socklen_t size,
                             char *host, DWORD hostSize, char *service,
                             DWORD serviceSize, int flags)
{
    int code;

    return due(CALL_getnameinfo, &code)
               ? code
               : getnameinfo(address, size, host, hostSize, service,
                             serviceSize, flags);
}

int WSAAPI fault_getaddrinfo(const char *name, const char *service,
                             const ADDRINFOA *hints, ADDRINFOA **found)
{
    int code;

    return due(CALL_getaddrinfo, &code)
               ? code
               : getaddrinfo(name, service, hints, found);
}

int WSAAPI fault_shutdown(SOCKET sock, int how)
{
    return fails(CALL_shutdown) ? SOCKET_ERROR : shutdown(sock, how);
}

/* Half of a buffer, rounded up: its WSABUF is captured before a post returns,
 * so the short one may be on the stack. */
static WSABUF half(const WSABUF *buffer)
{
    WSABUF part = *buffer;

    part.len = (part.len + 1) / 2;
    return part;
}

int WSAAPI fault_WSARecv(SOCKET sock, WSABUF *buffers, DWORD count,
                         DWORD *bytes, DWORD *flags, OVERLAPPED *overlapped,
                         LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    WSABUF part = half(buffers);
    int result, code;

    if (due(CALL_WSARecv, &code)) {
        if (code != SHORT) {
            WSASetLastError(code);
            return SOCKET_ERROR;
        }
        buffers = &part;
    }
    delay();
    result = WSARecv(sock, buffers, count, bytes, flags, overlapped, routine);
    code = WSAGetLastError();
    delay();
    WSASetLastError(code);
    return result;
}

int WSAAPI fault_WSASend(SOCKET sock, WSABUF *buffers, DWORD count,
                         DWORD *bytes, DWORD flags, OVERLAPPED *overlapped,
                         LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    WSABUF part = half(buffers);
    int result, code;

    if (due(CALL_WSASend, &code)) {
        if (code != SHORT) {
            WSASetLastError(code);
            return SOCKET_ERROR;
        }
        buffers = &part;
    }
    delay();
    result = WSASend(sock, buffers, count, bytes, flags, overlapped, routine);
    code = WSAGetLastError();
    delay();
    WSASetLastError(code);
    return result;
}

BOOL WSAAPI fault_WSAGetOverlappedResult(SOCKET sock, OVERLAPPED *overlapped,
                                         DWORD *bytes, BOOL wait, DWORD *flags)
{
    return !fails(CALL_WSAGetOverlappedResult)
           && WSAGetOverlappedResult(sock, overlapped, bytes, wait, flags);
}

/* ------------------------ port, threads, handles ------------------------- */

BOOL WINAPI fault_SetFileCompletionNotificationModes(HANDLE file, UCHAR modes)
{
    return !fails(CALL_SetFileCompletionNotificationModes)
           && SetFileCompletionNotificationModes(file, modes);
}

HANDLE WINAPI fault_CreateIoCompletionPort(HANDLE file, HANDLE port,
                                           ULONG_PTR key, DWORD threads)
{
    HANDLE result;

    if (fails(CALL_CreateIoCompletionPort))
        return NULL;
    result = CreateIoCompletionPort(file, port, key, threads);
    return port == NULL ? guard_opened(result) : result;
}

BOOL WINAPI fault_GetQueuedCompletionStatus(HANDLE port, DWORD *bytes,
                                            ULONG_PTR *key,
                                            OVERLAPPED **overlapped,
                                            DWORD milliseconds)
{
    BOOL ok;
    DWORD code;

    if (fails(CALL_GetQueuedCompletionStatus)) {
        *overlapped = NULL;
        return FALSE;
    }
    ok = GetQueuedCompletionStatus(port, bytes, key, overlapped, milliseconds);
    code = GetLastError();
    delay();
    SetLastError(code);
    return ok;
}

BOOL WINAPI fault_GetQueuedCompletionStatusEx(
    HANDLE port, OVERLAPPED_ENTRY *entries, ULONG count, ULONG *removed,
    DWORD milliseconds, BOOL alertable)
{
    BOOL ok;
    DWORD code;

    if (fails(CALL_GetQueuedCompletionStatusEx)) {
        *removed = 0;
        return FALSE;
    }
    ok = GetQueuedCompletionStatusEx(port, entries, count, removed,
                                     milliseconds, alertable);
    code = GetLastError();
    delay();
    SetLastError(code);
    return ok;
}

BOOL WINAPI fault_PostQueuedCompletionStatus(HANDLE port, DWORD bytes,
                                             ULONG_PTR key,
                                             OVERLAPPED *overlapped)
{
    delay();
    return !fails(CALL_PostQueuedCompletionStatus)
           && PostQueuedCompletionStatus(port, bytes, key, overlapped);
}

BOOL WINAPI fault_CancelIoEx(HANDLE file, OVERLAPPED *overlapped)
{
    delay();
    return !fails(CALL_CancelIoEx) && CancelIoEx(file, overlapped);
}

uintptr_t fault__beginthreadex(void *security, unsigned stack,
                               unsigned(WINAPI *start)(void *), void *arg,
                               unsigned flags, unsigned *id)
{
    int code;

    if (!due(CALL__beginthreadex, &code))
        return (uintptr_t)guard_opened(
            (HANDLE)_beginthreadex(security, stack, start, arg, flags, id));
    _doserrno = (unsigned long)code;
    return 0;
}

DWORD WINAPI fault_WaitForSingleObject(HANDLE handle, DWORD milliseconds)
{
    DWORD result = WaitForSingleObject(handle, milliseconds);

    return fails(CALL_WaitForSingleObject) ? WAIT_FAILED : result;
}

BOOL WINAPI fault_CloseHandle(HANDLE handle)
{
    BOOL result = CloseHandle(guard_closing(handle));

    return !fails(CALL_CloseHandle) && result;
}

BOOL WINAPI fault_DuplicateHandle(HANDLE fromProcess, HANDLE from,
                                  HANDLE toProcess, HANDLE *to, DWORD access,
                                  BOOL inherit, DWORD options)
{
    if (fails(CALL_DuplicateHandle)
        || !DuplicateHandle(fromProcess, from, toProcess, to, access, inherit,
                            options))
        return FALSE;
    guard_opened(*to);
    return TRUE;
}

BOOL WINAPI fault_SetConsoleCtrlHandler(PHANDLER_ROUTINE handler, BOOL add)
{
    return !fails(CALL_SetConsoleCtrlHandler)
           && SetConsoleCtrlHandler(handler, add);
}

DWORD WINAPI fault_GetActiveProcessorCount(WORD group)
{
    return fails(CALL_GetActiveProcessorCount)
               ? 0
               : GetActiveProcessorCount(group);
}

BOOL WINAPI fault_SleepConditionVariableSRW(CONDITION_VARIABLE *variable,
                                            SRWLOCK *lock, DWORD milliseconds,
                                            ULONG flags)
{
    return !fails(CALL_SleepConditionVariableSRW)
           && SleepConditionVariableSRW(variable, lock, milliseconds, flags);
}

BOOL WINAPI fault_WriteFile(HANDLE file, const void *data, DWORD size,
                            DWORD *written, OVERLAPPED *overlapped)
{
    return !fails(CALL_WriteFile)
           && WriteFile(file, data, size, written, overlapped);
}

/* ------------------------- the trace: file, timer ------------------------- */

HANDLE WINAPI fault_CreateFileA(const char *name, DWORD access, DWORD share,
                                SECURITY_ATTRIBUTES *security, DWORD creation,
                                DWORD flags, HANDLE model)
{
    return fails(CALL_CreateFileA)
               ? INVALID_HANDLE_VALUE
               : guard_opened(CreateFileA(name, access, share, security,
                                          creation, flags, model));
}

DWORD WINAPI fault_GetFileType(HANDLE file)
{
    return fails(CALL_GetFileType) ? FILE_TYPE_UNKNOWN : GetFileType(file);
}

BOOL WINAPI fault_CreateTimerQueueTimer(HANDLE *timer, HANDLE queue,
                                        WAITORTIMERCALLBACK callback,
                                        void *parameter, DWORD due,
                                        DWORD period, ULONG flags)
{
    if (fails(CALL_CreateTimerQueueTimer)
        || !CreateTimerQueueTimer(timer, queue, callback, parameter, due,
                                  period, flags))
        return FALSE;
    guard_opened(*timer);
    return TRUE;
}

BOOL WINAPI fault_DeleteTimerQueueTimer(HANDLE queue, HANDLE timer,
                                        HANDLE event)
{
    BOOL result = DeleteTimerQueueTimer(queue, guard_closing(timer), event);

    return !fails(CALL_DeleteTimerQueueTimer) && result;
}

FARPROC WINAPI fault_GetProcAddress(HMODULE module, const char *name)
{
    return fails(CALL_GetProcAddress) ? NULL : GetProcAddress(module, name);
}

/* ---------------------------- memory and locks ---------------------------- */

LPVOID WINAPI fault_VirtualAlloc(LPVOID address, SIZE_T size, DWORD type,
                                 DWORD protection)
{
    return fails(CALL_VirtualAlloc)
               ? NULL
               : guard_mapped(VirtualAlloc(address, size, type, protection));
}

BOOL WINAPI fault_VirtualFree(LPVOID address, SIZE_T size, DWORD type)
{
    BOOL result;

    delay();
    result = VirtualFree(address, size, type);
    guard_unmapped();
    return !fails(CALL_VirtualFree) && result;
}

void *fault_malloc(size_t size)
{
    return fails(CALL_malloc) ? NULL : guard_allocate(size);
}

void *fault_calloc(size_t count, size_t size)
{
    return fails(CALL_calloc) ? NULL : guard_allocate(count * size);
}

void fault_free(void *block)
{
    count(CALL_free);
    delay();
    guard_free(block);
}

void WINAPI fault_AcquireSRWLockExclusive(SRWLOCK *lock)
{
    count(CALL_AcquireSRWLockExclusive);
    delay();
    AcquireSRWLockExclusive(lock);
    delay();
}

void WINAPI fault_ReleaseSRWLockExclusive(SRWLOCK *lock)
{
    count(CALL_ReleaseSRWLockExclusive);
    ReleaseSRWLockExclusive(lock);
    delay();
}
