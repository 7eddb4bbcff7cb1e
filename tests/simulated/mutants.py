"""Servers that are broken on purpose: each must be found.

MUTANTS: name -> (file, old text, new text, kind of run). The file contains the
old text exactly once. The kind of run is "" for usual lives, "faults" if calls
fail, "races" for the build that sees every access to memory, "races, faults"
for both, "trace" if the traces are checked.
"""

import pathlib

SRC = pathlib.Path(__file__).resolve().parents[2] / "src"


def broken(name):
    """Returns the mutant's file and its text."""
    source, old, new, _ = MUTANTS[name]
    text = (SRC / source).read_text(encoding="ascii")
    assert text.count(old) == 1, f"{source} has not once: {old}"
    return source, text.replace(old, new)


# ----------------------------- pieces of sources ----------------------------

ECHO = "        connection_write(handleInfo, buffer->data, length);\n"
CLOSE = ("    log_unless(closesocket(handleInfo->hClntSock) == 0, "
         '"closesocket");\n')
FREE = "    free(handleInfo);\n"
RETURN = ("    buffer_return(&handleInfo->server->buffers, "
          "&handleInfo->buffer);\n")
EVENT = '    fatal_unless(SetEvent(stop->event), "SetEvent (stop)");\n'
RECEIVED = "    handleInfo->received += bytes;\n"
LAST = ("    logLast = console_close;  /* before the handler may end the "
        "process */\n")
HANDLER = ('    fatal_unless(SetConsoleCtrlHandler(on_control, TRUE),\n'
           '                 "SetConsoleCtrlHandler");\n')
OPEN = ("    trace_open(options->traceFile, options->workers, "
        "options->concurrency,\n"
        "               options->cpus, options->workTime, "
        "options->workSpins);\n")
PORT = ("    server->hComPort = CreateIoCompletionPort(INVALID_HANDLE_VALUE, "
        "NULL, 0,\n"
        "                                              "
        "options->concurrency);\n"
        "    fatal_unless(server->hComPort != NULL, "
        '"CreateIoCompletionPort");\n')
START = "    start_threads(program);\n"
LOCK = "    AcquireSRWLockExclusive(&registry->lock);\n"
UNLOCK = "    ReleaseSRWLockExclusive(&registry->lock);\n"

MUTANTS = {
    # ------------------------------- memory --------------------------------
    "touched after the post": (
        "worker.c", ECHO,
        "    {\n" + ECHO + "        handleInfo->sent = 0;\n    }\n", ""),
    "touched after the close": (
        "connection.c", FREE, FREE + "    handleInfo->id = 0;\n", ""),
    "freed twice": ("connection.c", FREE, FREE + FREE, ""),
    "one byte too many": (
        "worker.c", RECEIVED, RECEIVED
        + "    handleInfo->buffer.data[handleInfo->buffer.size] = 0;\n", ""),
    "not freed": ("connection.c", FREE, "", ""),
    "a buffer is not given back": (
        "connection.c", RETURN + FREE, FREE, ""),
    "given back before the close of the echo": (
        "worker.c", ECHO, "    {\n        buffer_return(&handleInfo->server->"
        "buffers, buffer);\n" + ECHO + "    }\n", ""),
    "kept buffers are not freed": (
        "main.c", "    buffers_close(&server->buffers);\n", "", ""),
    "not closed": ("connection.c", CLOSE, "", ""),
    "closed twice": ("connection.c", CLOSE, CLOSE + CLOSE, ""),
    "the port is not closed": (
        "main.c", '    log_unless(CloseHandle(server->hComPort), "CloseHandle '
        '(port)");\n', "", ""),
    "a thread's handle is not closed": (
        "pool.c", '        log_unless(CloseHandle(pool->threads[i]), '
        '"CloseHandle (thread)");\n', "", ""),
    "half a pointer as key": (
        "connection.c", "(ULONG_PTR)handleInfo, 0)",
        "(DWORD)(ULONG_PTR)handleInfo, 0)", ""),
    "freed before it is off the list": (
        "connection.c", CLOSE, CLOSE + "    handleInfo->entry.previous->next "
        "= (REGISTRY_ENTRY *)&handleInfo->entry;\n", ""),

    # ------------------------------ ownership ------------------------------
    "received while it sends": (
        "worker.c", ECHO, "    {\n" + ECHO
        + "        connection_read(handleInfo, FALSE);\n    }\n", ""),
    "a failed packet is taken for a success": (
        "worker.c", "               bytesTrans, ok ? NO_ERROR : "
        "GetLastError());\n", "               bytesTrans, NO_ERROR);\n", ""),
    "a failed packet is ignored": (
        "worker.c", "        handle(worker, (LPPER_HANDLE_DATA)key, "
        "(LPPER_IO_DATA)overlapped,\n               bytesTrans, ok ? NO_ERROR "
        ": GetLastError());\n", "        if (ok)\n            handle(worker, "
        "(LPPER_HANDLE_DATA)key, (LPPER_IO_DATA)overlapped,\n"
        "                   bytesTrans, NO_ERROR);\n", ""),
    "a failed packet is taken for a failed wait": (
        "worker.c", "    if (overlapped != NULL) {\n",
        "    if (ok && overlapped != NULL) {\n", ""),
    "pending is taken for a failure": (
        "connection.c", "(code = WSAGetLastError()) == WSA_IO_PENDING",
        "(code = WSAGetLastError()) == NO_ERROR", ""),
    "a failed post is not closed": (
        "connection.c", "               mode, code);\n"
        "    connection_close(handleInfo, CLOSE_ERROR);\n",
        "               mode, code);\n", ""),
    "done at once is taken for one's own": (
        "connection.c", "    if (result == 0 && done != NULL)\n",
        "    if (done != NULL)\n", ""),
    "the list is looked up after the post": (
        "connection.c", "    if (result == 0 && done != NULL)\n"
        "        add_done(done,", "    if (result == 0 && handleInfo->done "
        "!= NULL)\n        add_done(handleInfo->done,", ""),
    "done at once, and a packet all the same": (
        "batch.c", " FILE_SKIP_COMPLETION_PORT_ON_SUCCESS)", " 0)", ""),
    "queued, and handled all the same": (
        "batch.c", "            continue;  /*", "            (void)0;  /*",
        ""),
    "what is done at once is forgotten": (
        "batch.c", "        if (batch->done != NULL)\n",
        "        if (batch->done != NULL && batch->rounds > 0)\n", ""),
    "a share is reckoned before the wait": (
        "batch.c", "more ? server->options.batch : min(2, ",
        "more ? server->options.batch : min(99, ", ""),
    "a batch of none is one": (
        "batch.c", "        batch->count = 0;\n    ++batch->waits",
        "        batch->count *= 1;\n    ++batch->waits", ""),
    "the rest of a batch is forgotten": (
        "batch.c", "    while (batch->next == batch->count) {\n",
        "    while (batch->next <= batch->count) {\n", ""),
    "a status is not asked for": (
        "batch.c", "    return batch->rounds > 0\n",
        "    return batch->rounds < 99\n", ""),
    "one OVERLAPPED for both": (
        "connection.c", "                        "
        "&handleInfo->readIo.overlapped);\n",
        "                        NULL);\n", ""),

    # --------------------------------- bytes -------------------------------
    "the rest of a short send is left out": (
        "worker.c", "    else if (bytes < wsaBuf.len)\n",
        "    else if (bytes + 1 < wsaBuf.len)\n", ""),
    "a short send is sent again": (
        "worker.c", "wsaBuf.buf + bytes, wsaBuf.len - bytes)",
        "wsaBuf.buf, wsaBuf.len - bytes)", ""),
    "the whole buffer is sent": (
        "worker.c", "connection_write(handleInfo, buffer->data, length)",
        "connection_write(handleInfo, buffer->data, buffer->size)", ""),
    "a short READ shortens the next": (
        "connection.c", "    ioInfo->wsaBuf.len = buffer->size;\n",
        "    ioInfo->wsaBuf.len = ioInfo->wsaBuf.len "
        "== 0\n        || handleInfo->writeIo.wsaBuf.len == 0 ? buffer->size "
        ": handleInfo->writeIo.wsaBuf.len + 60000;\n", ""),
    "the answer ends at a NUL": (
        "echo.c", "    return bytes;\n",
        "    return bytes > 5000 ? bytes - 1 : bytes;\n", ""),
    "bytes are counted twice": (
        "worker.c", RECEIVED, RECEIVED
        + "    handleInfo->received += bytes;\n", ""),
    "a failed send counts": (
        "worker.c", "    handleInfo->sent += bytes;\n",
        "    handleInfo->sent += wsaBuf.len;\n", ""),
    "a READ of zero bytes is the end": (
        "worker.c", "    } else if (ioInfo->wsaBuf.len == 0) {\n",
        "    } else if (ioInfo->wsaBuf.len == 1) {\n", ""),
    "a client that has ended is not": (
        "worker.c", "        handleInfo->echo.ended = TRUE;\n",
        "        handleInfo->echo.ended = bytes != 0;\n", ""),

    # --------------------------------- stop --------------------------------
    "sentinels before the drain": (
        "main.c", "    registry_drain(&server->registry, "
        "server->options.drainTimeout * 1000);\n",
        "    pool_post_sentinels(server->hComPort, 1);\n"
        "    registry_drain(&server->registry, "
        "server->options.drainTimeout * 1000);\n", ""),
    "one sentinel too few": (
        "main.c", "(server->hComPort, server->options.workers);\n",
        "(server->hComPort, server->options.workers - 1);\n", ""),
    "a batch keeps all sentinels": (
        "batch.c", "                            batch->count - batch->next);"
        "\n", "                            0 * (batch->count - batch->next));"
        "\n", ""),
    "sends are cancelled with receives": (
        "registry.c", "            cancel(entry, entry->receive, stops",
        "            cancel(entry, NULL, stops", ""),
    "nothing is cancelled": (
        "registry.c", "        if (registry->stop->cutAt != 0 || ",
        "        if (", ""),
    "swept once per phase": (
        "registry.c", "        registry_sweep(registry);\n",
        "        static BOOL once;\n"
        "        if (once == (cutAt == 0))\n            (void)0;\n"
        "        else\n            registry_sweep(registry);\n"
        "        once = cutAt == 0;\n", ""),
    "no lingering": (
        "connection.c",
        "    if ((handleInfo->entry.discarding || send_fin(handleInfo))\n",
        "    if (!handleInfo->entry.discarding && !send_fin(handleInfo)\n",
        ""),
    "discards for ever": (
        "registry.c", "    return entry->registry->stop->cutAt == 0;\n",
        "    return TRUE;\n", ""),
    "a cancel ends a connection that just began to discard": (
        "connection.c", "handleInfo->entry.discarding ? &handleInfo->writeIo",
        "handleInfo == NULL ? &handleInfo->writeIo", ""),
    "what was received is not echoed in the drain": (
        "worker.c", "    } else if (!handleInfo->entry.discarding) {\n",
        "    } else if (!handleInfo->entry.discarding\n"
        "               && !stop_begun(&worker->server->stop)) {\n", ""),
    "the drain is not cut": (
        "registry.c", "        if (now - start >= milliseconds)\n",
        "        if (now - start >= milliseconds + 60000)\n", ""),
    "the second Ctrl+C does nothing": (
        "console.c", "        stop_cut(stopped);\n", "        (void)0;\n", ""),
    "the third Ctrl+C does nothing": (
        "console.c", "        TerminateProcess(GetCurrentProcess(), 1);\n", "",
        ""),
    "closing the console is cut too late": (
        "console.c", "#define CLOSE_DRAIN 2500",
        "#define CLOSE_DRAIN 12500", ""),
    "the handler returns": (
        "console.c", "        Sleep(INFINITE);\n", "", ""),
    "the handler prints": (
        "console.c", "    LONG cutAt = stopped->cutAt;\n",
        "    LONG cutAt = stopped->cutAt;\n\n"
        '    log_event("request reason=%s", reason);\n', ""),
    "QuickEdit stays off": (
        "console.c", "void console_close(void) { log_unless(restore(), "
        '"SetConsoleMode"); }', "void console_close(void) {}", ""),
    "QuickEdit: one takes the mode, and another ends the process": (
        "console.c", "InterlockedCompareExchange(&savedMode, 0, 0);",
        "InterlockedExchange(&savedMode, 0);", ""),
    "the listener is not closed": (
        "stop.c", "    (void)closesocket(stop->listener);\n", "", ""),
    "the event comes before the listener is closed": (
        "stop.c", "    (void)closesocket(stop->listener);\n" + EVENT,
        EVENT + "    (void)closesocket(stop->listener);\n", ""),
    "main does not wait until the listener is closed": (
        "main.c", "    stop_wait(&server->stop, INFINITE);  "
        "/* until the listener is closed */\n", "", ""),
    "joined in one call": (
        "main.c", "    pool_join(&program->pool);\n", "", ""),
    "a worker's counters are not written back": (
        "worker.c", "    *(WORKER *)pWorker = worker;\n", "", ""),
    "the sweeper is not joined": (
        "pool.c", "    for (i = 0; i < pool->count; ++i) {\n",
        "    for (i = 0; i + 1 < pool->count; ++i) {\n", ""),

    # -------------------------- limits, idle, waiting ----------------------
    "one too many": (
        "registry.c", "           && registry->live >= registry->limit)\n",
        "           && registry->live > registry->limit)\n", ""),
    "the limit comes after accept": (
        "main.c", "    while (registry_wait_for_place(&server->registry)) {\n",
        "    while (!stop_begun(&server->stop)) {\n", ""),
    "a lost wake-up: set only at none": (
        "registry.c", "    if (live == 0 || live + 1 == registry->limit)\n",
        "    if (live == 0)\n", ""),
    "a lost wake-up: set before it counts": (
        "registry.c", "    live = --registry->live;\n" + UNLOCK
        + "    if (live == 0 || live + 1 == registry->limit)\n"
        "        fatal_unless(SetEvent(registry->fewer), "
        "\"SetEvent (registry)\");\n",
        "    SetEvent(registry->fewer);\n    live = --registry->live;\n"
        + UNLOCK, ""),
    "a backlog of 200": (
        "listener.c", "SOMAXCONN_HINT(65535)", "SOMAXCONN", ""),
    "a backlog of 5": ("listener.c", "SOMAXCONN_HINT(65535)", "5", ""),
    "one reset client ends it": (
        "main.c", "    if (is_about_the_client(code)) {\n",
        "    if (is_about_the_client(code)) {\n"
        '        stop_begin(stop, "accept");\n', ""),
    "no deadline is set": (
        "connection.c", "    if (!handleInfo->entry.discarding\n",
        "    if (handleInfo == NULL\n", ""),
    "a deadline stays": (
        "connection.c", "(milliseconds != 0 || handleInfo->entry.deadline "
        "!= 0))\n", "milliseconds != 0)\n", ""),
    "a WRITE has one timeout": (
        "connection.c", "    DWORD timeouts = (bytes - 1) / BYTES_PER_TIMEOUT "
        "+ 1;\n", "    DWORD timeouts = bytes > 0;\n", ""),
    "nothing is idle": (
        "registry.c", "    return deadline != 0 && deadline % 2 == 0;\n",
        "    return deadline != 0 && entry->discarding;\n", ""),
    "ticks that wrap around": (
        "registry.c", "(LONG)(now - (DWORD)deadline) >= 0",
        "now >= (DWORD)deadline", ""),
    "--concurrency is not passed on": (
        "main.c", "                                              "
        "options->concurrency);\n",
        "                                              0);\n", ""),
    "a lock is not released": (
        "registry.c", "    live = ++registry->live;\n" + UNLOCK,
        "    live = ++registry->live;\n", ""),

    # --------------------------- larger buffers ----------------------------
    "more is lent than there may be": (
        "buffer.c", " <= buffers->limit)\n", " != 1)\n", ""),
    "a silent client keeps its larger buffer": (
        "registry.c", "    return entry->deadline == RECLAIMED;\n",
        "    return FALSE;\n", ""),
    "a READ without its buffer's size": (
        "connection.c", "    if (buffer->size > BUF_SIZE)\n",
        "    if (buffer->step > 0)\n", ""),
    "who is claimed does not wait for the sweep": (
        "registry.c", "    AcquireSRWLockExclusive(&entry->registry->lock);\n"
        "    ReleaseSRWLockExclusive(&entry->registry->lock);\n", "", ""),
    "a claim is left behind": (
        "registry.c", "    if (InterlockedExchange(&entry->deadline, ",
        "    if (entry->deadline == 1\n"
        "        || InterlockedExchange(&entry->deadline, ", ""),
    "a claimed READ ends its connection": (
        "connection.c", "entry->deadline == RECLAIMED", "entry->deadline == 5",
        ""),
    "the deadline is read before the tick": (
        "registry.c", "    DWORD now = GetTickCount();\n    LONG deadline = "
        "entry->deadline;\n", "    LONG deadline = entry->deadline;\n"
        "    DWORD now = GetTickCount();\n", ""),

    # ---------------------------------- trace ------------------------------
    "two threads write the trace": (
        "trace_file.c", "    AcquireSRWLockExclusive(&file.lock);\n    if ("
        "file.handle != NULL && file.used", "    if (file.handle != NULL && "
        "file.used", ""),
    "the trace has no end": (
        "trace.c", '    add(end, strlen(end), TRUE);\n', "", "trace"),
    "the post is not in the trace": (
        "connection.c", "    TRACE(trace_post(handleInfo->id, mode, "
        "ioInfo->wsaBuf.len));\n", "", "trace"),
    "an event of the trace is cut": (
        "trace.c",
        "    if (length < start || (size_t)length + 1 >= sizeof line)\n"
        "        return;\n",
        "    if (length > 120)\n        length = 120;\n", "trace"),
    "the timer is not waited for": (
        "trace.c", "        && !DeleteTimerQueueTimer(NULL, timer, "
        "INVALID_HANDLE_VALUE))\n",
        "        && !DeleteTimerQueueTimer(NULL, timer, NULL))\n", ""),

    # ---------------------------------- faults -----------------------------
    "a socket is left": (
        "listener.c", '    log_unless(closesocket(sock) == 0, "closesocket");'
        "\n", "", "faults"),
    "a file is left": (
        "trace.c", '    log_unless(CloseHandle(handle), "CloseHandle '
        '(trace)");\n', "", "faults"),
    "a dropped client is not closed": (
        "connection.c", "        log_unless(closesocket(hClntSock) == 0, "
        '"closesocket");\n', "", "faults"),
    "no memory for a buffer": (
        "buffer.c", "    return buffer->data != NULL;\n", "    return TRUE;\n",
        "faults"),
    "a sentinel that can't be posted is left out": (
        "pool.c", "             !PostQueuedCompletionStatus(hComPort, 0, "
        "SENTINEL_KEY, NULL);\n", "             !PostQueuedCompletionStatus("
        "hComPort, 0, SENTINEL_KEY, NULL)\n             && tries < 2;\n",
        "faults"),
    "out of sockets ends it": (
        "main.c", "    } else if (listener_listens(stop->listener)) {\n",
        "    } else if (code == 0) {\n", "faults"),

    # ---------------------------------- races ------------------------------
    "a race: the list without its lock": (
        "registry.c", LOCK + "    entry->next = registry->head.next;\n",
        "    entry->next = registry->head.next;\n" + LOCK, "races"),
    "a race: totals without the lock": (
        "registry.c", "    registry->received += received;\n", "", "races"),
    "a race: the listener's error is read too early": (
        "main.c", "    stop_wait(&server->stop, INFINITE);  "
        "/* until the listener is closed */\n", "", "races"),
    "a race: the trace is opened after the threads start": (
        "main.c", OPEN + PORT + START, PORT + START + OPEN, "races"),
    "a race: the handler comes before what ends the process": (
        "console.c", LAST + HANDLER, HANDLER + LAST, "races, faults"),
    "a race: the counters before the join": (
        "main.c", "    pool_join(&program->pool);\n    trace_close();\n"
        "    report_totals(program);\n", "    report_totals(program);\n"
        "    pool_join(&program->pool);\n    trace_close();\n", "races"),
}

# For these 2,000 lives may be too few: a thread must be late in one place.
RARE = {
    "closing the console is cut too late": 20000,
    "QuickEdit: one takes the mode, and another ends the process": 20000,
    "a WRITE has one timeout": 20000,
    "who is claimed does not wait for the sweep": 20000,
    "the deadline is read before the tick": 20000,
}
