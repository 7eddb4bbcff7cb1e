"""What a running process has and uses: memory, handles, threads, CPU time."""

import ctypes
import functools
import os
import pathlib
import re

WINDOWS = os.name == "nt"


def _status(pid, field):
    """A number of /proc/PID/status. The name there may hold anything."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="latin-1")
    found = re.search(rf"^{field}:\s+(\d+)", text, re.MULTILINE)
    if not found:
        raise ProcessLookupError(f"process {pid} has ended")
    return int(found[1])


def _stat(pid):
    """The fields of /proc/PID/stat, from the third one on. The name before
    them, in brackets, may hold anything: they are counted from its end."""
    data = pathlib.Path(f"/proc/{pid}/stat").read_bytes()
    return data[data.rindex(b")") + 2:].split()


def _wine_prefix(pid):
    """The WINEPREFIX in a process's environment, or None."""
    with open(f"/proc/{pid}/environ", "rb") as file:
        found = re.search(rb"(?:^|\0)WINEPREFIX=([^\0]*)", file.read())
    return found and found[1]


@functools.lru_cache(maxsize=None)
def _wine_server(pid):
    """The pid of the Wine server that this process talks to."""
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
    """ask(kernel32, handle) for an open handle of the process (Windows)."""
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
    """Bytes of memory that are the process's own."""
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
    """How many handles it has open. Under Wine: file descriptors, its own and
    the Wine server's, for it is there that a program's sockets are."""
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
    """How many threads it has."""
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
    """Seconds of CPU time it has used, to about a hundredth."""
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
    """The process and all that it has started, and they in turn, as far as
    they live: its descendants, and the session that it may lead (POSIX; on
    Windows itself alone)."""
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
    """The same of it and all that it has started."""
    total = memory(pid)
    for each in family(pid):
        try:
            total += memory(each) if each != pid else 0
        except OSError:
            pass  # it has just ended
    return total


def family_cpu_time(pid):
    """The same of it and all that it has started, ended children too."""
    total = cpu_time(pid)
    if WINDOWS:
        return total
    for each in family(pid):
        try:
            fields = _stat(each)
        except OSError:
            continue  # its parent has its time, by the next call
        # user and system, its own and of its children that have ended
        own = map(int, fields[13:15] if each == pid else fields[11:15])
        total += sum(own) / os.sysconf("SC_CLK_TCK")
    return total


def busy_time():
    """Seconds of CPU time that all processes together have used, since the
    machine started; None where that is not told as simply (Windows)."""
    try:
        text = pathlib.Path("/proc/stat").read_text(encoding="ascii")
    except OSError:
        return None
    # user, nice, system, idle, iowait, irq, softirq
    numbers = list(map(int, text.split()[1:8]))
    return (sum(numbers) - sum(numbers[3:5])) / os.sysconf("SC_CLK_TCK")
