/* system.c - memory, files, the console, the timer, clocks. */
#include "world.h"

/* --------------------------------- memory -------------------------------- */

static void *allocate(size_t size, BOOL pages)
{
    void *address = calloc(1, size);

    if (world.blockCount == MAX_BLOCKS)
        blame("more than %d blocks of memory", MAX_BLOCKS);
    world.blocks[world.blockCount++] = (BLOCK){address, size, pages, FALSE};
    memory_is_new(address, size);
    return address;
}

static BLOCK *block_of(const void *address)
{
    unsigned i = world.blockCount;

    while (i-- > 0)
        if (world.blocks[i].address == address)
            return &world.blocks[i];
    blame("no block of memory, or freed already");
}

static void check_not_the_kernels(const BLOCK *block)
{
    if (__asan_region_is_poisoned(block->address, block->size) != NULL)
        blame("memory is freed that the kernel owns");
}

static void release_block(BLOCK *block)
{
    void *address = block->address;

    memory_is_new(address, block->size);
    kernel_gives(address, block->size);
    *block = world.blocks[--world.blockCount];
    free(address);
}

static void release(void *address, BOOL pages)
{
    BLOCK *block = block_of(address);

    if (block->pages != pages)
        blame("a block of memory of the other kind");
    check_not_the_kernels(block);
    release_block(block);
}

/* Frees what a life that was cut short has left. */
void memory_end(void)
{
    while (world.blockCount > 0)
        release_block(&world.blocks[world.blockCount - 1]);
}

void *simulated_calloc(size_t count, size_t size)
{
    CALL(calloc, NULL);
    return allocate(count * size, FALSE);
}

void simulated_free(void *block)
{
    enter(CALL_free);
    if (block != NULL)
        release(block, FALSE);
}

/* Checks how much memory larger buffers use. */
static void check_larger_buffers(void)
{
    size_t lent = 0;
    unsigned i;

    for (i = 0; i < world.blockCount; ++i)
        if (world.blocks[i].pages && !world.blocks[i].kept
            && world.blocks[i].size > 4096)
            lent += world.blocks[i].size;
    /* If freeing one failed, it is in use for ever. */
    if (world.failed == 0 && lent > (size_t)world.scenario.lent << 20)
        blame("%zu bytes of larger buffers are in use", lent);
}

LPVOID VirtualAlloc(LPVOID address, SIZE_T size, DWORD type, DWORD protection)
{
    CALL(VirtualAlloc, NULL);
    address = allocate(size, TRUE);
    check_larger_buffers();
    return address;
}

BOOL VirtualFree(LPVOID address, SIZE_T size, DWORD type)
{
    CALL(VirtualFree, FALSE);
    release(address, TRUE);
    return TRUE;
}

/* Nobody owns what is on a list, so it is poisoned. */
void InitializeSListHead(SLIST_HEADER *list)
{
    list->Alignment = list->Region = 0;
}

SLIST_ENTRY *InterlockedPushEntrySList(SLIST_HEADER *list, SLIST_ENTRY *entry)
{
    BLOCK *block;

    enter(CALL_Interlocked);
    block = block_of(entry);
    if (block->kept)
        blame("a buffer is given back twice");
    check_not_the_kernels(block);
    clock_release(list);
    memory_is_new(entry, block->size);
    block->kept = TRUE;
    entry->Next = (SLIST_ENTRY *)list->Alignment;
    list->Alignment = (ULONGLONG)entry;
    ++list->Region;
    kernel_takes(entry, block->size);
    return entry->Next;
}

SLIST_ENTRY *InterlockedPopEntrySList(SLIST_HEADER *list)
{
    SLIST_ENTRY *entry;
    BLOCK *block;

    enter(CALL_Interlocked);
    entry = (SLIST_ENTRY *)list->Alignment;
    if (entry == NULL)
        return NULL;
    block = block_of(entry);
    clock_acquire(list);
    kernel_gives(entry, block->size);
    block->kept = FALSE;
    list->Alignment = (ULONGLONG)entry->Next;
    --list->Region;
    check_larger_buffers();
    return entry;
}

USHORT QueryDepthSList(SLIST_HEADER *list) { return (USHORT)list->Region; }

/* ------------------------- output, files, console ------------------------ */

HANDLE GetStdHandle(DWORD which)
{
    return which == (DWORD)STD_ERROR_HANDLE ? object_handle(&world.objects[1])
                                            : object_handle(&world.objects[0]);
}

static BOOL output_flows(void *unused) { return !world.outputStops; }

/* Writes a line. The pipe's reader may be slow, or stop reading. */
static void write_line(const OBJECT *file, const char *text, DWORD size)
{
    if (may(MAY_blocks, 10))
        wait_for(nothing, NULL, 1 + below(&world.liberty, 50));
    if (world.scenario.blocksForEver && world.lines > 2
        && !(world.scenario.resumes && world.pressed >= 3))
        world.outputStops = TRUE;
    wait_for(output_flows, NULL, INFINITE);
    check_line(file == &world.objects[1], text, size);
}

/* A disk that is full may take a part: Microsoft's page on WriteFile. */
BOOL WriteFile(HANDLE handle, const void *data, DWORD size, DWORD *written,
               OVERLAPPED *overlapped)
{
    DWORD code = enter(CALL_WriteFile);
    OBJECT *file = object_at(handle);

    if (file->kind != OUTPUT && file->kind != FILE_HANDLE)
        blame("WriteFile: no file");
    *written = code == 0 ? size : size / 2;
    if (code != 0 && (file->kind == OUTPUT || code != ERROR_DISK_FULL))
        return fails(code);
    if (file->kind == OUTPUT)
        write_line(file, data, size);
    else
        fwrite(data, 1, *written, traces);
    return TRUE;
}

HANDLE CreateFileA(const char *name, DWORD access, DWORD share,
                   SECURITY_ATTRIBUTES *security, DWORD creation, DWORD flags,
                   HANDLE model)
{
    BOOL console = strcmp(name, "CONIN$") == 0;

    CALL(CreateFileA, INVALID_HANDLE_VALUE);
    if (console && !world.scenario.hasConsole)
        return fails(ERROR_INVALID_HANDLE), INVALID_HANDLE_VALUE;
    return object_handle(object_open(console ? CONSOLE : FILE_HANDLE));
}

DWORD GetFileType(HANDLE file)
{
    CALL(GetFileType, 0);
    object_of(file, FILE_HANDLE);
    return FILE_TYPE_DISK;
}

BOOL GetConsoleMode(HANDLE console, DWORD *mode)
{
    CALL(GetConsoleMode, FALSE);
    object_of(console, CONSOLE);
    *mode = world.consoleMode;
    return TRUE;
}

BOOL SetConsoleMode(HANDLE console, DWORD mode)
{
    CALL(SetConsoleMode, FALSE);
    object_of(console, CONSOLE);
    world.consoleMode = mode;
    return TRUE;
}

BOOL SetConsoleCtrlHandler(PHANDLER_ROUTINE handler, BOOL add)
{
    CALL(SetConsoleCtrlHandler, FALSE);
    clock_release(&world.handler);
    world.handler = add ? handler : NULL;
    return TRUE;
}

BOOL TerminateProcess(HANDLE process, UINT status)
{
    enter(CALL_TerminateProcess);
    life_ends((int)status);
}

_Noreturn void simulated_exit(int status)
{
    enter(CALL_exit);
    life_ends(status);
}

/* ---------------------------------- timer -------------------------------- */

/* If a callback takes longer than the period, it is called again meanwhile:
 * Microsoft's page on CreateTimerQueueTimer. */
static unsigned timer_main(void *unused)
{
    clock_acquire(&world.due);
    world.callback(world.timerParameter, TRUE);
    clock_release(&world.due);
    --world.callbacks;
    return 0;
}

void timer_fires(void)
{
    world.due = world.now + world.period * MS;
    if (world.callbacks < 4) {
        ++world.callbacks;
        thread_start("alarm", timer_main, NULL);
    }
}

BOOL CreateTimerQueueTimer(HANDLE *timer, HANDLE queue,
                           WAITORTIMERCALLBACK callback, void *parameter,
                           DWORD due, DWORD period, ULONG flags)
{
    CALL(CreateTimerQueueTimer, FALSE);
    world.callback = callback;
    world.timerParameter = parameter;
    world.period = period;
    world.due = world.now + due * MS;
    clock_release(&world.due);
    *timer = &world.due;
    return TRUE;
}

static BOOL no_callback(void *unused) { return world.callbacks == 0; }

BOOL DeleteTimerQueueTimer(HANDLE queue, HANDLE timer, HANDLE event)
{
    if (timer != &world.due || world.due == 0)
        blame("DeleteTimerQueueTimer: no timer");
    world.due = 0;
    if (event == INVALID_HANDLE_VALUE)
        wait_for(no_callback, NULL, INFINITE);
    clock_acquire(&world.due);
    CALL(DeleteTimerQueueTimer, FALSE);
    return TRUE;
}

/* --------------------------------- clocks -------------------------------- */

/* Time passes when a loop only looks at the clock, so that the loop ends. */
#define LOOK 100

/* Its resolution is that of the system timer, typically 10 to 16 ms. (The
 * 32-bit GetTickCount also wraps around.) Microsoft's page on GetTickCount. */
ULONGLONG GetTickCount64(void)
{
    TIME now;

    enter(CALL_clock);
    now = world.now += LOOK;
    if ((world.scenario.liberties >> MAY_tick & 1) != 0)
        now -= now % 15625;
    return world.scenario.bootedAt + now / MS;
}

DWORD GetTickCount(void) { return (DWORD)GetTickCount64(); }

BOOL QueryPerformanceCounter(LARGE_INTEGER *now)
{
    enter(CALL_clock);
    now->QuadPart = (LONGLONG)(world.now += LOOK) * 10;
    return TRUE;
}

BOOL QueryPerformanceFrequency(LARGE_INTEGER *frequency)
{
    frequency->QuadPart = 10000000;
    return TRUE;
}

void GetSystemTime(SYSTEMTIME *now)
{
    memset(now, 0, sizeof *now);
    now->wYear = 2026;
    now->wMonth = now->wDay = 1;
}

DWORD GetActiveProcessorCount(WORD group)
{
    CALL(GetActiveProcessorCount, 0);
    return world.scenario.cpus;
}

/* ---------------------------------- text --------------------------------- */

DWORD FormatMessageA(DWORD flags, const void *source, DWORD code,
                     DWORD language, char *text, DWORD size,
                     __ms_va_list *args)
{
    return (DWORD)snprintf(text, size, "Windows' text for %u. \r\n", code);
}

HMODULE GetModuleHandleW(const WCHAR *name) { return &world; }

FARPROC GetProcAddress(HMODULE module, const char *name)
{
    CALL(GetProcAddress, NULL);
    return fails(ERROR_PROC_NOT_FOUND), NULL;
}

/* Drops the l from the format: on Windows a long has 32 bits, and so have the
 * arguments here. */
int simulated_vsnprintf(char *text, size_t size, const char *format,
                        va_list args)
{
    char linux_format[600];
    size_t i, j = 0;

    for (i = 0; format[i] != '\0' && j + 1 < sizeof linux_format; ++i)
        if (format[i] != 'l' || i == 0 || strchr("dux", format[i + 1]) == NULL
            || strchr("%0123456789", format[i - 1]) == NULL)
            linux_format[j++] = format[i];
    linux_format[j] = '\0';
    return vsnprintf(text, size, linux_format, args);
}

int simulated_snprintf(char *text, size_t size, const char *format, ...)
{
    va_list args;
    int length;

    va_start(args, format);
    length = simulated_vsnprintf(text, size, format, args);
    va_end(args);
    return length;
}

/* -------------------------------- addresses ------------------------------ */

int inet_pton(int family, const char *text, void *address);
#define LINUX_AF_INET6 10

int getaddrinfo(const char *name, const char *service, const ADDRINFOA *hints,
                ADDRINFOA **found)
{
    static SOCKADDR_INET address;
    static ADDRINFOA result = {.ai_addr = (SOCKADDR *)&address,
                               .ai_addrlen = sizeof address};

    CALL(getaddrinfo, WSAHOST_NOT_FOUND);
    memset(&address, 0, sizeof address);
    *found = &result;
    if (inet_pton(AF_INET, name, &address.Ipv4.sin_addr) == 1)
        address.si_family = AF_INET;
    else if (inet_pton(LINUX_AF_INET6, name, &address.Ipv6.sin6_addr) == 1)
        address.si_family = AF_INET6;
    return address.si_family != 0 ? 0 : WSAHOST_NOT_FOUND;
}

void freeaddrinfo(ADDRINFOA *found) { (void)found; }

int getnameinfo(const SOCKADDR *address, socklen_t size, char *host,
                DWORD hostSize, char *service, DWORD serviceSize, int flags)
{
    const u_char *bytes = (const u_char *)address + 4;

    CALL(getnameinfo, WSAHOST_NOT_FOUND);
    if (address->sa_family == AF_INET6)
        snprintf(host, hostSize, "::");
    else
        snprintf(host, hostSize, "%u.%u.%u.%u", bytes[0], bytes[1], bytes[2],
                 bytes[3]);
    return 0;
}
