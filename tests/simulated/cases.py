"""Failures that were found, each as a life that needs no seed: see lives.py.

CASES: name -> (mutant, text). The sources live this life as they should; the
mutant, in which the failure still is, does not. Nothing is left to chance: the
thread that runs goes on until it waits, then the first that can; only what the
text names is otherwise.
"""

CASES = {
    # The console's thread has begun the stop, and is late. Main, which serves
    # a client meanwhile, sees the stop and ends.
    "the listener is closed after WSACleanup": (
        "main does not wait until the listener is closed", """
        options 9190
        set early 1
        client total 100
        press main CreateIoCompletionPort 2
        hold main WSARecv 1 console closesocket 1
        hold console closesocket 1 main WSACleanup 1"""),

    # A sweep sees a connection that does not discard yet. Before it cancels,
    # the connection begins to, and posts a READ.
    "a cancel hits the READ that discards": (
        "a cancel ends a connection that just began to discard", """
        options 9190
        set early 1
        client total 100 staysSilent 1
        press thread WSASend 1
        hold thread WSASend 1 main CancelIoEx 1
        hold main CancelIoEx 1 thread WSARecv 1"""),

    # Main ends in order, and is about to set the mode. The third Ctrl+C ends
    # the process before it does.
    "QuickEdit is left off by a third Ctrl+C": (
        "QuickEdit: one takes the mode, and another ends the process", """
        options 9190
        set presses 3 second 100000 third 3200000 hasConsole 1 quickEdit 1
        client total 100
        hold main SetConsoleMode 2 console TerminateProcess 1"""),

    # A sweep has begun to look at a deadline, and is late. Meanwhile the owner
    # sets later ones, and the first passes.
    "a deadline is that of an operation long done": (
        "the deadline is read before the tick", """
        options 9190 --idle-timeout 1
        set idle 1
        client total 400 chunk 100 pause 600000
        hold thread3 clock 3 thread WSASend 3"""),

    # A sweep claims a larger buffer. Before it cancels, bytes come, and the
    # owner is two operations further.
    "a cancel that is late hits the next READ": (
        "who is claimed does not wait for the sweep", """
        options 9190
        client total 40000 chunk 8000 pause 1300000
        hold thread3 CancelIoEx 1 thread WSARecv 3"""),

    # The same, but the cancel finds nothing. If the claim stays, the client,
    # which is silent from then on, is never idle.
    "a claim is left behind by a cancel that came too late": (
        "a claim is left behind", """
        options 9190 --idle-timeout 2
        set idle 2
        client total 16000 chunk 8000 pause 1300000 staysSilent 1
        hold thread3 CancelIoEx 1 thread WSASend 3"""),

    # The handler's own thread fails, and ends the process.
    "a race: what ends the process is not known to the handler": (
        "a race: the handler comes before what ends the process", """
        options 9190
        fault SetEvent 1 0 0"""),

    # The workers run already when main opens the trace, and learn of it from a
    # volatile variable alone.
    "a race: the trace is published by a plain volatile": (
        "a race: the trace is opened after the threads start", """
        options 9190 --trace=file
        client total 100"""),
}


def life(name):
    """Returns the lines of a case."""
    return [f"life case {name}",
            *(line.strip() for line in CASES[name][1].split("\n") if line)]
