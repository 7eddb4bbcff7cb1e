/* faults.c - calls that fail on demand. See checked.h. */
#define CHECKED_REAL
#include "checked.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SHORT    (-1) /* the code of "short" */
#define LATE     (-2) /* the code of "late" */
#define TOO_LATE 500  /* ms */

typedef struct {
    const char *name;
    LONG first, last; /* the calls that fail; 0: none */
    LONG step;        /* 1: all of them; n: every nth */
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
#define ROW(call) {#call, 0, 0, 1, 0, 0},
    FAULT_CALLS(ROW) SURE_CALLS(ROW)
#undef ROW
};

static INIT_ONCE once = INIT_ONCE_STATIC_INIT;
static BOOL tells, counts;       /* ASKED is set; COUNTS                */
static volatile SOCKET listener; /* the socket that listens             */
static PHANDLER_ROUTINE consoleHandler;

/* TOGETHER: `wanted` is N, and 0 once one call has taken N packets. */
static struct {
    SRWLOCK lock;
    CONDITION_VARIABLE more;
    ULONG wanted, posted;
} gate;

/* ------------------------------- the report ------------------------------ */

/* Ends the process: a test whose faults can't be made would test nothing. */
static void give_up(const char *text)
{
    fprintf(stderr, "faults: can't do '%s'\n", text);
    TerminateProcess(GetCurrentProcess(), 99);
}

/* Appends a line to the file that an environment variable names, if it is set.
 * One thread at a time calls this. */
static void append_line(const char *variable, const char *line, size_t length)
{
    char name[MAX_PATH];
    DWORD size = GetEnvironmentVariableA(variable, name, sizeof name);
    DWORD written;
    HANDLE file;

    if (size == 0 || size >= sizeof name)
        return;
    file = CreateFileA(name, FILE_APPEND_DATA,
                       FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_ALWAYS,
                       FILE_ATTRIBUTE_NORMAL, NULL);
    if (file == INVALID_HANDLE_VALUE
        || !WriteFile(file, line, (DWORD)length, &written, NULL))
        give_up("a report can't be written");
    CloseHandle(file);
}

static void report(void)
{
    char line[4096];
    size_t i, length = 0;

    for (i = 0; i < CALL_COUNT; ++i)
        length += (size_t)snprintf(line + length, sizeof line - length,
                                   "%s=%ld%c", rules[i].name, rules[i].calls,
                                   i + 1 < CALL_COUNT ? ' ' : '\n');
    append_line("COUNTS", line, length);
}

/* --------------------------------- rules --------------------------------- */

static void read_when(RULE *rule, const char *text)
{
    char *end;

    rule->first = strtol(text + (*text == '/'), &end, 10);
    rule->last = rule->first;
    if (*text == '/') {
        rule->step = rule->first;
        rule->last = LONG_MAX;
    } else if (*end == '+') {
        rule->last = LONG_MAX;
        ++end;
    } else if (*end == '-') {
        rule->last = strtol(end + 1, &end, 10);
    }
    if (rule->first <= 0 || rule->last < rule->first || *end != '\0')
        give_up(text);
}

static void read_code(RULE *rule, const char *text)
{
    char *end;

    rule->code = (int)strtol(text, &end, 10);
    if (strcmp(text, "short") == 0)
        rule->code = SHORT;
    else if (strcmp(text, "late") == 0)
        rule->code = LATE;
    else if (*text == '\0' || *end != '\0')
        give_up(text);
}

static void read_rule(char *text)
{
    char *when = strchr(text, ':');
    char *code = when != NULL ? strchr(when + 1, ':') : NULL;
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
    read_when(&rules[i], when);
    read_code(&rules[i], code);
}

static BOOL CALLBACK read_rules(INIT_ONCE *unused, void *argument,
                                void **context)
{
    static char text[1024];
    DWORD length = GetEnvironmentVariableA("FAULTS", text, sizeof text);
    char number[16], *rule, *next;

    (void)unused, (void)argument, (void)context;
    if (atexit(report) != 0)
        give_up("atexit");
    tells = GetEnvironmentVariableA("ASKED", NULL, 0) != 0;
    counts = GetEnvironmentVariableA("COUNTS", NULL, 0) != 0;
    if (length >= sizeof text)
        give_up("FAULTS, which is too long");
    for (rule = length > 0 ? text : NULL; rule != NULL; rule = next) {
        next = strchr(rule, ',');
        if (next != NULL)
            *next++ = '\0';
        read_rule(rule);
    }
    if (GetEnvironmentVariableA("TOGETHER", number, sizeof number) != 0) {
        gate.wanted = strtoul(number, &next, 10);
        if (gate.wanted == 0 || *next != '\0')
            give_up(number);
    }
    return TRUE;
}

/* --------------------------------- calls --------------------------------- */

static void start(void) { InitOnceExecuteOnce(&once, read_rules, NULL, NULL); }

unsigned fault_kept_bytes(void)
{
    start();
    return counts ? 1048576u : 0;
}

/* Counts a call. Returns whether it must fail; *code says how. */
static BOOL due(size_t call, int *code)
{
    RULE *rule = &rules[call];
    LONG n;

    start();
    n = InterlockedIncrement(&rule->calls);
    *code = rule->code;
    return rule->first != 0 && n >= rule->first && n <= rule->last
           && n % rule->step == 0;
}

static void count(size_t call) { InterlockedIncrement(&rules[call].calls); }

/* Appends a line to the file of ASKED: the call, its thread, and " key=value"
 * for each argument that matters. */
static void asked(size_t call, const char *format, ...)
{
    static SRWLOCK lock = SRWLOCK_INIT;
    DWORD code = GetLastError();
    char arguments[MAX_PATH + 64], line[sizeof arguments + 64];
    va_list args;
    int length;

    start();
    if (!tells) {
        SetLastError(code);
        return;
    }
    va_start(args, format);
    (void)vsnprintf(arguments, sizeof arguments, format, args);
    va_end(args);
    length = snprintf(line, sizeof line, "%s thread=%lu%s\n", rules[call].name,
                      GetCurrentThreadId(), arguments);
    AcquireSRWLockExclusive(&lock);
    append_line("ASKED", line, (size_t)length);
    ReleaseSRWLockExclusive(&lock);
    SetLastError(code);
}

/* As due, but also sets the last error, Winsock's too: on Windows they are one
 * and the same. */
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

/* A call that releases something does so even when it is to fail. */
int WSAAPI fault_WSACleanup(void)
{
    int result;

    asked(CALL_WSACleanup, "");
    result = WSACleanup();

    return fails(CALL_WSACleanup) ? SOCKET_ERROR : result;
}

int WSAAPI fault_closesocket(SOCKET sock)
{
    BOOL listens = sock == listener;
    int result, code;
    BOOL fault = due(CALL_closesocket, &code);

    if (fault && code == LATE && listens)
        Sleep(TOO_LATE);
    if (listens)
        listener = INVALID_SOCKET; /* the system may reuse the handle */
    result = closesocket(sock);
    if (fault && code != LATE) {
        WSASetLastError(code);
        result = SOCKET_ERROR;
    }
    /* Recorded after it: a test asks whether main goes on only then. */
    asked(CALL_closesocket, " listener=%d", listens);
    return result;
}

SOCKET WSAAPI fault_WSASocketW(int family, int type, int protocol,
                               LPWSAPROTOCOL_INFOW info, GROUP group,
                               DWORD flags)
{
    return fails(CALL_WSASocketW)
               ? INVALID_SOCKET
               : WSASocketW(family, type, protocol, info, group, flags);
}

int WSAAPI fault_setsockopt(SOCKET sock, int level, int name,
                            const char *value, int size)
{
    int on;

    memcpy(&on, value, sizeof on);
    asked(CALL_setsockopt, " level=%d name=%d value=%d", level, name, on);
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
    asked(CALL_listen, " backlog=%d", backlog);
    if (fails(CALL_listen))
        return SOCKET_ERROR;
    listener = sock;
    return listen(sock, backlog);
}

/* SEND_BUFFER: sets SO_SNDBUF of a socket that was accepted. */
static void set_send_buffer(SOCKET sock)
{
    char number[16];
    int bytes;

    if (GetEnvironmentVariableA("SEND_BUFFER", number, sizeof number) == 0)
        return;
    bytes = (int)strtol(number, NULL, 10);
    if (setsockopt(sock, SOL_SOCKET, SO_SNDBUF, (const char *)&bytes,
                   sizeof bytes)
        != 0)
        give_up("SEND_BUFFER");
}

SOCKET WSAAPI fault_accept(SOCKET sock, SOCKADDR *address, int *size)
{
    SOCKET result;

    asked(CALL_accept, "");
    if (fails(CALL_accept))
        return INVALID_SOCKET;
    result = accept(sock, address, size);
    if (result != INVALID_SOCKET)
        set_send_buffer(result);
    return result;
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

/* Returns half of a buffer, rounded up. The system copies a WSABUF before the
 * post returns, so this one may be on the stack. */
static WSABUF half(const WSABUF *buffer)
{
    WSABUF part = *buffer;

    part.len = (part.len + 1) / 2;
    return part;
}

/* Records a post: code 0 if it is done at once, else the error. `size` is from
 * before it: the WSABUF may be gone by now. */
static int posted(size_t call, ULONG size, int result)
{
    asked(call, " bytes=%lu code=%d", size,
          result == 0 ? 0 : WSAGetLastError());
    return result;
}

int WSAAPI fault_WSARecv(SOCKET sock, WSABUF *buffers, DWORD count,
                         DWORD *bytes, DWORD *flags, OVERLAPPED *overlapped,
                         LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    WSABUF part = half(buffers);
    ULONG size;
    int code;

    if (due(CALL_WSARecv, &code)) {
        if (code != SHORT) {
            WSASetLastError(code);
            return SOCKET_ERROR;
        }
        buffers = &part;
    }
    size = buffers->len;
    return posted(CALL_WSARecv, size,
                  WSARecv(sock, buffers, count, bytes, flags, overlapped,
                          routine));
}

int WSAAPI fault_WSASend(SOCKET sock, WSABUF *buffers, DWORD count,
                         DWORD *bytes, DWORD flags, OVERLAPPED *overlapped,
                         LPWSAOVERLAPPED_COMPLETION_ROUTINE routine)
{
    WSABUF part = half(buffers);
    ULONG size;
    int code;

    if (due(CALL_WSASend, &code)) {
        if (code != SHORT) {
            WSASetLastError(code);
            return SOCKET_ERROR;
        }
        buffers = &part;
    }
    size = buffers->len;
    return posted(CALL_WSASend, size,
                  WSASend(sock, buffers, count, bytes, flags, overlapped,
                          routine));
}

BOOL WSAAPI fault_WSAGetOverlappedResult(SOCKET sock, OVERLAPPED *overlapped,
                                         DWORD *bytes, BOOL wait, DWORD *flags)
{
    return !fails(CALL_WSAGetOverlappedResult)
           && WSAGetOverlappedResult(sock, overlapped, bytes, wait, flags);
}

/* -------------------------- packets taken together ------------------------ */

/* Waits until the packets are posted. Returns TRUE if this thread must take
 * them and then call open_gate; until it does, other threads wait here. */
static BOOL enter_gate(void)
{
    AcquireSRWLockExclusive(&gate.lock);
    while (gate.posted < gate.wanted)
        SleepConditionVariableSRW(&gate.more, &gate.lock, INFINITE, 0);
    if (gate.wanted > 0)
        return TRUE;
    ReleaseSRWLockExclusive(&gate.lock);
    return FALSE;
}

/* Lets the other threads go on: this one has taken `taken` packets. */
static void open_gate(ULONG taken)
{
    if (taken < gate.wanted)
        give_up("TOGETHER");
    gate.wanted = 0;
    ReleaseSRWLockExclusive(&gate.lock);
}

/* Counts a packet that was posted. */
static void gate_posted(void)
{
    AcquireSRWLockExclusive(&gate.lock);
    ++gate.posted;
    ReleaseSRWLockExclusive(&gate.lock);
    WakeAllConditionVariable(&gate.more);
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

    if (port == NULL)
        asked(CALL_CreateIoCompletionPort, " concurrency=%lu", threads);
    if (fails(CALL_CreateIoCompletionPort))
        return NULL;
    result = CreateIoCompletionPort(file, port, key, threads);
    return result;
}

BOOL WINAPI fault_GetQueuedCompletionStatus(HANDLE port, DWORD *bytes,
                                            ULONG_PTR *key,
                                            OVERLAPPED **overlapped,
                                            DWORD milliseconds)
{
    if (fails(CALL_GetQueuedCompletionStatus)) {
        *overlapped = NULL;
        return FALSE;
    }
    return GetQueuedCompletionStatus(port, bytes, key, overlapped,
                                     milliseconds);
}

BOOL WINAPI fault_GetQueuedCompletionStatusEx(
    HANDLE port, OVERLAPPED_ENTRY *entries, ULONG count, ULONG *removed,
    DWORD milliseconds, BOOL alertable)
{
    BOOL ok, first;
    DWORD code;

    if (fails(CALL_GetQueuedCompletionStatusEx)) {
        *removed = 0;
        return FALSE;
    }
    first = enter_gate();
    ok = GetQueuedCompletionStatusEx(port, entries, count, removed,
                                     milliseconds, alertable);
    code = GetLastError();
    if (first)
        open_gate(ok ? *removed : 0);
    SetLastError(code);
    return ok;
}

BOOL WINAPI fault_PostQueuedCompletionStatus(HANDLE port, DWORD bytes,
                                             ULONG_PTR key,
                                             OVERLAPPED *overlapped)
{
    asked(CALL_PostQueuedCompletionStatus, " key=%llu",
          (unsigned long long)key);
    if (fails(CALL_PostQueuedCompletionStatus)
        || !PostQueuedCompletionStatus(port, bytes, key, overlapped))
        return FALSE;
    gate_posted();
    return TRUE;
}

BOOL WINAPI fault_CancelIoEx(HANDLE file, OVERLAPPED *overlapped)
{
    BOOL result;
    int code;

    if (due(CALL_CancelIoEx, &code)) {
        result = code == LATE;
        SetLastError((DWORD)code);
    } else {
        result = CancelIoEx(file, overlapped);
    }
    asked(CALL_CancelIoEx, " everything=%d result=%d", overlapped == NULL,
          result);
    return result;
}

uintptr_t fault__beginthreadex(void *security, unsigned stack,
                               unsigned(WINAPI *start)(void *), void *arg,
                               unsigned flags, unsigned *id)
{
    int code;

    if (!due(CALL__beginthreadex, &code))
        return _beginthreadex(security, stack, start, arg, flags, id);
    _doserrno = (unsigned long)code;
    return 0;
}

/* Fails only after the wait: if a thread ends just as the process does, Wine 10
 * may take the thread's exit status for that of the process. */
DWORD WINAPI fault_WaitForSingleObject(HANDLE handle, DWORD milliseconds)
{
    DWORD result;

    asked(CALL_WaitForSingleObject, " ms=%lu", milliseconds);
    result = WaitForSingleObject(handle, milliseconds);
    return fails(CALL_WaitForSingleObject) ? WAIT_FAILED : result;
}

DWORD WINAPI fault_WaitForMultipleObjects(DWORD number, const HANDLE *handles,
                                          BOOL all, DWORD milliseconds)
{
    asked(CALL_WaitForMultipleObjects, " ms=%lu", milliseconds);
    return fails(CALL_WaitForMultipleObjects)
               ? WAIT_FAILED
               : WaitForMultipleObjects(number, handles, all, milliseconds);
}

void WINAPI fault_Sleep(DWORD milliseconds)
{
    count(CALL_Sleep);
    asked(CALL_Sleep, " ms=%lu", milliseconds);
    Sleep(milliseconds);
}

HANDLE WINAPI fault_CreateEventW(SECURITY_ATTRIBUTES *security, BOOL manual,
                                 BOOL set, const wchar_t *name)
{
    return fails(CALL_CreateEventW)
               ? NULL
               : CreateEventW(security, manual, set, name);
}

BOOL WINAPI fault_SetEvent(HANDLE event)
{
    asked(CALL_SetEvent, "");
    return !fails(CALL_SetEvent) && SetEvent(event);
}

BOOL WINAPI fault_CloseHandle(HANDLE handle)
{
    BOOL result = CloseHandle(handle);

    return !fails(CALL_CloseHandle) && result;
}

static BOOL WINAPI on_console_control(DWORD event)
{
    asked(CALL_SetConsoleCtrlHandler, " event=%lu", event);
    return consoleHandler(event);
}

/* Registers a handler that records each call of it for ASKED. */
BOOL WINAPI fault_SetConsoleCtrlHandler(PHANDLER_ROUTINE handler, BOOL add)
{
    consoleHandler = handler;
    return !fails(CALL_SetConsoleCtrlHandler)
           && SetConsoleCtrlHandler(on_console_control, add);
}

DWORD WINAPI fault_GetActiveProcessorCount(WORD group)
{
    return fails(CALL_GetActiveProcessorCount)
               ? 0
               : GetActiveProcessorCount(group);
}

BOOL WINAPI fault_WriteFile(HANDLE file, const void *data, DWORD size,
                            DWORD *written, OVERLAPPED *overlapped)
{
    asked(CALL_WriteFile, " bytes=%lu", size);
    return !fails(CALL_WriteFile)
           && WriteFile(file, data, size, written, overlapped);
}

/* ---------------------------- files, consoles ---------------------------- */

DWORD WINAPI fault_GetFileType(HANDLE file)
{
    return fails(CALL_GetFileType) ? FILE_TYPE_UNKNOWN : GetFileType(file);
}

BOOL WINAPI fault_GetConsoleMode(HANDLE console, DWORD *mode)
{
    if (fails(CALL_GetConsoleMode) || !GetConsoleMode(console, mode))
        return FALSE;
    asked(CALL_GetConsoleMode, " mode=%lu", *mode); /* the answer */
    return TRUE;
}

BOOL WINAPI fault_SetConsoleMode(HANDLE console, DWORD mode)
{
    asked(CALL_SetConsoleMode, " mode=%lu", mode);
    return !fails(CALL_SetConsoleMode) && SetConsoleMode(console, mode);
}

HANDLE WINAPI fault_CreateFileA(const char *name, DWORD access, DWORD share,
                                SECURITY_ATTRIBUTES *security, DWORD creation,
                                DWORD flags, HANDLE model)
{
    asked(CALL_CreateFileA, " file=%s", name);
    return fails(CALL_CreateFileA) ? INVALID_HANDLE_VALUE
                                   : CreateFileA(name, access, share, security,
                                                 creation, flags, model);
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
    return TRUE;
}

BOOL WINAPI fault_DeleteTimerQueueTimer(HANDLE queue, HANDLE timer,
                                        HANDLE event)
{
    BOOL result = DeleteTimerQueueTimer(queue, timer, event);

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
               : VirtualAlloc(address, size, type, protection);
}

BOOL WINAPI fault_VirtualFree(LPVOID address, SIZE_T size, DWORD type)
{
    BOOL result;

    result = VirtualFree(address, size, type);
    return !fails(CALL_VirtualFree) && result;
}

void *fault_calloc(size_t count, size_t size)
{
    return fails(CALL_calloc) ? NULL : calloc(count, size);
}

void fault_free(void *block)
{
    count(CALL_free);
    free(block);
}

void WINAPI fault_AcquireSRWLockExclusive(SRWLOCK *lock)
{
    count(CALL_AcquireSRWLockExclusive);
    AcquireSRWLockExclusive(lock);
    asked(CALL_AcquireSRWLockExclusive, " lock=%p", (void *)lock);
}

void WINAPI fault_ReleaseSRWLockExclusive(SRWLOCK *lock)
{
    count(CALL_ReleaseSRWLockExclusive);
    asked(CALL_ReleaseSRWLockExclusive, " lock=%p", (void *)lock);
    ReleaseSRWLockExclusive(lock);
}
