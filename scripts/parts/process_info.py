"""A running process' memory, handles, threads and CPU time."""

import ctypes
import functools
import os
import pathlib
import re

WINDOWS = os.name == "nt"


def _status(pid, field):
    """Returns a number of /proc/PID/status. The name there may hold any
    bytes, and latin-1 decodes them all."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="latin-1")
    found = re.search(rf"^{field}:\s+(\d+)", text, re.MULTILINE)
    if not found:
        raise ProcessLookupError(f"process {pid} has ended")
    return int(found[1])


def _stat(pid):
    """Returns the fields of /proc/PID/stat from the third on. They follow the
    last bracket, because the name before it may contain anything."""
    data = pathlib.Path(f"/proc/{pid}/stat").read_bytes()
    return data[data.rindex(b")") + 2:].split()


def _wine_prefix(pid):
    """Returns the WINEPREFIX in a process' environment, or None."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        found = re.search(rb"(?:^|\0)WINEPREFIX=([^\0]*)", file.read())
    return found and found[1]


@functools.lru_cache(maxsize=None)
def _wine_server(pid):
    """Returns the pid of the Wine server that this process talks to."""
    prefix = _wine_prefix(pid)
    for each in filter(str.isdigit, os.listdir("/proc")):
        try:
            name = pathlib.Path(f"/proc/{each}/comm").read_text("utf-8")
            if name.startswith("wineserver") and _wine_prefix(each) == prefix:
                return int(each)
        except OSError:
            pass  # it has ended
    raise OSError(f"process {pid} has no Wine server")


class _MemoryCounters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS_EX (psapi.h)."""

    _fields_ = [("cb", ctypes.c_uint32), ("PageFaultCount", ctypes.c_uint32),
                *((name, ctypes.c_size_t) for name in (
                    "PeakWorkingSetSize", "WorkingSetSize",
                    "QuotaPeakPagedPoolUsage", "QuotaPagedPoolUsage",
                    "QuotaPeakNonPagedPoolUsage", "QuotaNonPagedPoolUsage",
                    "PagefileUsage", "PeakPagefileUsage", "PrivateUsage"))]


def _with_process(pid, ask):
    """Returns ask(kernel32, handle), with a handle of the process open."""
    access = 0x0400 | 0x0010  # PROCESS_QUERY_INFORMATION, PROCESS_VM_READ
    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.OpenProcess.restype = ctypes.c_void_p
    kernel32.OpenProcess.argtypes = [ctypes.c_uint32, ctypes.c_int,
                                     ctypes.c_uint32]
    kernel32.CloseHandle.argtypes = [ctypes.c_void_p]
    handle = kernel32.OpenProcess(access, False, pid)
    if not handle:
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        return ask(kernel32, handle)
    finally:
        kernel32.CloseHandle(handle)


def memory(pid):
    """Returns how many bytes of memory belong to this process alone."""
    if not WINDOWS:
        return _status(pid, "RssAnon") * 1024

    def ask(kernel32, handle):
        counters = _MemoryCounters()
        counters.cb = ctypes.sizeof(counters)
        query = kernel32.K32GetProcessMemoryInfo
        query.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32]
        if not query(handle, ctypes.byref(counters), counters.cb):
            raise ctypes.WinError(ctypes.get_last_error())
        return counters.PrivateUsage
    return _with_process(pid, ask)


def handles(pid):
    """Counts its open handles. Under Wine, counts file descriptors: its own
    and those of the Wine server, which holds a program's sockets."""
    if not WINDOWS:
        return sum(len(os.listdir(f"/proc/{each}/fd"))
                   for each in (pid, _wine_server(pid)))

    def ask(kernel32, handle):
        count = ctypes.c_uint32()
        query = kernel32.GetProcessHandleCount
        query.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        if not query(handle, ctypes.byref(count)):
            raise ctypes.WinError(ctypes.get_last_error())
        return count.value
    return _with_process(pid, ask)


class _ThreadEntry(ctypes.Structure):
    """THREADENTRY32 (tlhelp32.h)."""

    _fields_ = [(name, ctypes.c_uint32) for name in (
        "dwSize", "cntUsage", "th32ThreadID", "th32OwnerProcessID",
        "tpBasePri", "tpDeltaPri", "dwFlags")]


def threads(pid):
    """Counts its threads."""
    if not WINDOWS:
        return _status(pid, "Threads")
    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.CreateToolhelp32Snapshot.restype = ctypes.c_void_p
    kernel32.CreateToolhelp32Snapshot.argtypes = 2 * [ctypes.c_uint32]
    for each in (kernel32.Thread32First, kernel32.Thread32Next):
        each.argtypes = 2 * [ctypes.c_void_p]
    kernel32.CloseHandle.argtypes = [ctypes.c_void_p]
    snapshot = kernel32.CreateToolhelp32Snapshot(4, 0)  # TH32CS_SNAPTHREAD
    if snapshot == ctypes.c_void_p(-1).value:  # INVALID_HANDLE_VALUE
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        entry, count = _ThreadEntry(), 0
        entry.dwSize = ctypes.sizeof(entry)
        more = kernel32.Thread32First(snapshot, ctypes.byref(entry))
        while more:
            count += entry.th32OwnerProcessID == pid
            more = kernel32.Thread32Next(snapshot, ctypes.byref(entry))
        return count
    finally:
        kernel32.CloseHandle(snapshot)


def cpu_time(pid):
    """Returns its CPU time in seconds, to about a hundredth."""
    if not WINDOWS:
        numbers = _stat(pid)
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")

    def ask(kernel32, handle):
        # Creation, exit, kernel, user: in units of 100 ns.
        times = (ctypes.c_uint64 * 4)()
        query = kernel32.GetProcessTimes
        query.argtypes = [ctypes.c_void_p] + 4 * [ctypes.c_void_p]
        if not query(handle, *(ctypes.byref(times, 8 * i) for i in range(4))):
            raise ctypes.WinError(ctypes.get_last_error())
        return (times[2] + times[3]) / 1e7
    return _with_process(pid, ask)


def family(pid):
    """Returns the live pids among the process, its descendants and those of
    the session that it leads. On Windows, only its own."""
    parents, found = {}, {pid}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            state, parent, _, session = _stat(path.name)[:4]
        except OSError:
            continue  # it has just ended
        if state != b"Z":
            parents[int(path.name)] = int(parent)
            if int(session) == pid:
                found.add(int(path.name))
    while True:
        more = {each for each, parent in parents.items() if parent in found}
        if more <= found:
            return sorted(found)
        found |= more


def family_memory(pid):
    """Returns the memory of its whole family."""
    total = memory(pid)
    for each in family(pid):
        try:
            total += memory(each) if each != pid else 0
        except OSError:
            pass  # it has just ended
    return total


def family_cpu_time(pid):
    """Returns the CPU time of its whole family, ended children included."""
    total = cpu_time(pid)
    if WINDOWS:
        return total
    for each in family(pid):
        try:
            fields = _stat(each)
        except OSError:
            continue  # the next call finds its time in its parent's
        # user and system time: its own, and that of children that ended
        own = map(int, fields[13:15] if each == pid else fields[11:15])
        total += sum(own) / os.sysconf("SC_CLK_TCK")
    return total


def busy_time():
    """Returns the CPU time of all processes since the machine started, in
    seconds; None without /proc (Windows)."""
    try:
        text = pathlib.Path("/proc/stat").read_text(encoding="ascii")
    except OSError:
        return None
    # user, nice, system, idle, iowait, irq, softirq
    numbers = list(map(int, text.split()[1:8]))
    return (sum(numbers) - sum(numbers[3:5])) / os.sysconf("SC_CLK_TCK")
