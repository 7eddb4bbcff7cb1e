"""The lessons.

A lesson has the server's options. drive() is its clients; observe() reads the
trace and returns a dict that fills in the text. The text holds only what was
observed; `documented` is what Microsoft's `page` says.
"""

import socket
import time

import trace_view
from parts.clients import receive_all, reset
from parts.lesson_server import (
    echo, leave, receive_whole, send_until_stuck)
from parts.observed import (
    changes, codes, kernel_spans, listed, moments, most_at_once, ms, of_kind,
    operations, overtaken, overtaken_within_connections, running_intervals,
    taken_beside, time_with_more, who_woke, work_intervals)
from parts.words import Failure


class Lesson:
    options = []
    wine = ""   # how Wine differs, if that matters here
    paper = ""  # where the documented rules can be watched, if Wine hides them
    # drive() for the simulated Windows: how many clients, messages of each,
    # milliseconds between these, and between one client and the next.
    simulated = ()

    def drive(self, server):
        """Runs the clients. Returns a dict of what only they can know."""

    def observe(self, model):
        """Returns a dict of the numbers in the text."""

    def observed(self, model, clients):
        try:
            return self.text.format(**self.observe(model), **clients)
        except (LookupError, ValueError):
            # observe() does not check that the trace has what it reads.
            raise Failure("the trace does not show what happened") from None


def on_paper(preset):
    """Says where the same runs by the rules that Windows documents."""
    return ("Open this file in a browser to step through it as Windows "
            f"documents it: scripts/playground.html#preset={preset}")


class Cycle(Lesson):
    about = "one client: READ, WRITE, READ; which worker takes each step?"
    options = ["--workers", 4]
    text = ("Connection 1 had {packets} packets, in this order: {kinds}. "
            "{alternating} of {steps} times a READ was followed by a WRITE or "
            "a WRITE by a READ. The workers that took them: {workers}. "
            "{changed} of {steps} times the next packet went to another "
            "worker than the one before.")
    documented = ("A thread waits for a packet to be queued to the port, "
                  "rather than for an operation of its own. Any thread that "
                  "waits there may get it.")
    page = "I/O Completion Ports"
    wine = ("Which worker is next depends on the order in which they are "
            "woken, and Wine's is not that of Windows: see lesson lifo.")

    def drive(self, server):
        client = server.connect()
        for i in range(6):
            echo(client, b"message %d" % i)
            time.sleep(0.05)
        leave(client)
        return {}

    def observe(self, model):
        packets = operations(model, conn=1)
        kinds = [trace_view.KINDS[p["kind"]] for p in packets]
        workers = [p["worker"] for p in packets]
        return {"packets": len(packets), "kinds": listed(kinds),
                "steps": max(len(packets) - 1, 0),
                "alternating": changes(kinds),
                "workers": listed(workers), "changed": changes(workers)}


class Lifo(Lesson):
    about = "light load, many workers: who wakes?"
    options = ["--workers", 8]
    text = ("One client, {packets} packets, {workers} workers: {used} of them "
            "took any. Packets per worker: {shares}. {choices} times a packet "
            "came while two or more workers waited and could be told apart: "
            "{shortest} times the one that had waited shortest took it (last "
            "in, first out), {longest} times the one that had waited longest "
            "(first in, first out), {another} times another.")
    documented = ("Threads that block on a completion port are released in "
                  "last-in-first-out order; packets are queued "
                  "first-in-first-out.")
    page = "I/O Completion Ports"
    wine = ("Wine 8 wakes the worker that has waited longest, Wine 10 the one "
            "that has waited shortest.")
    paper = on_paper("lifo")
    simulated = (1, 20, 20, 0)

    def drive(self, server):
        client = server.connect()
        for i in range(20):
            echo(client, b"message %d" % i)
            time.sleep(0.02)
        leave(client)
        return {}

    def observe(self, model):
        shares = [row["packets"] for row in model["workers"]]
        woke = who_woke(model)
        return {"packets": len(operations(model)), "workers": len(shares),
                "used": sum(share > 0 for share in shares),
                "shares": listed(shares), "choices": sum(woke.values()),
                **woke}


class Limit(Lesson):
    about = "workers 8, concurrency 2: how many compute at once?"
    options = ["--workers", 8, "--concurrency", 2, "--work", "30:spin"]
    text = ("{conns} clients, {reads} READs with 30 ms of computing each. "
            "At most {most} of {workers} workers computed at once; the port's "
            "limit was {limit}. More than {limit} did so for {over} ms of the "
            "{some} ms in which any did.")
    documented = ("The concurrency value limits the number of runnable "
                  "threads of a port. Once it is reached, further threads are "
                  "blocked until the number falls below it.")
    page = "I/O Completion Ports"
    wine = "Wine 8 and Wine 10 ignore the limit."
    paper = on_paper("limit")
    simulated = (8, 3, 200, 0)

    def drive(self, server):
        clients = [server.connect() for _ in range(8)]
        for i in range(3):
            message = b"message %d" % i
            for client in clients:
                client.sendall(message)
            for client in clients:
                receive_whole(client, len(message))
        leave(*clients)
        return {}

    def observe(self, model):
        work, running = work_intervals(model), running_intervals(model)
        limit = model["info"]["concurrency"]
        return {"conns": len(model["connections"]), "reads": len(work),
                "most": most_at_once(work),
                "workers": len(model["workers"]), "limit": limit,
                "over": ms(time_with_more(work, limit)),
                "some": ms(time_with_more(work, 0)),
                "beside": taken_beside(model, limit),
                "running": most_at_once(running),
                "excess": ms(time_with_more(running, limit))}


class Paused(Limit):
    about = "the same, but they sleep: is a further worker released?"
    options = Limit.options[:-1] + ["30:sleep"]
    text = ("{conns} clients, {reads} READs in which the worker sleeps 30 "
            "ms. At most {most} of {workers} workers slept at once; the "
            "port's limit was {limit}. {beside} packets were taken while "
            "{limit} or more other workers slept. More than {limit} slept for "
            "{over} ms of the {some} ms in which any did. At most {running} "
            "ran at once, more than {limit} for {excess} ms.")
    documented = ("If a running thread of the port enters a wait state for "
                  "another reason, a waiting thread may be released to "
                  "process a packet. When the first runs again, there may for "
                  "a brief period be more active threads than the limit.")
    wine = ("Wine 8 and Wine 10 ignore the limit, so this picture looks like "
            "that of lesson limit; on Windows compare the two.")
    paper = on_paper("paused")


class Order(Lesson):
    about = "completion order is not issue order; within a connection it is"
    options = ["--workers", 4]
    text = ("The first READs were posted for connections {posted}; their "
            "packets were taken for connections {taken}. Of {operations} "
            "operations that succeeded, {overtaken} were overtaken: one "
            "posted later was complete earlier. Within one connection: "
            "{within}. "
            "{right} of {clients} clients got their bytes back in the order "
            "they sent them.")
    documented = ("Packets are queued in the order of completion, "
                  "first-in-first-out, but may be dequeued in a different "
                  "order.")
    page = "I/O Completion Ports"

    def drive(self, server):
        clients = [server.connect() for _ in range(6)]
        time.sleep(0.1)  # until all their READs are posted
        right = [True] * len(clients)
        for turn in range(4):
            # The last to connect speaks first; each turn starts elsewhere.
            for i in range(len(clients)):
                which = (len(clients) - 1 - i + turn) % len(clients)
                clients[which].sendall(b"turn %d client %d" % (turn, which))
                time.sleep(0.005)
            for which, client in enumerate(clients):
                expected = b"turn %d client %d" % (turn, which)
                got = receive_whole(client, len(expected))
                right[which] &= got == expected
        leave(*clients)
        return {"clients": len(clients), "right": sum(right)}

    def observe(self, model):
        spans = [s for s in kernel_spans(model) if s["error"] == 0]
        first = {}
        for span in spans:
            first.setdefault(span["conn"], span)
        by_end = sorted(first.values(), key=lambda span: span["end"])
        return {"posted": listed(first),
                "taken": listed(span["conn"] for span in by_end),
                "operations": len(spans), "overtaken": overtaken(spans),
                "within": overtaken_within_connections(spans)}


class BackPressure(Lesson):
    about = "a client that never reads: one long WRITE; the others go on"
    options = ["--workers", 2, "--drain-timeout", 1]
    text = ("Connection 1 never read. Its last WRITE, of {bytes} bytes, was "
            "the kernel's for {long} ms. In that time the other {others} "
            "connections got {echoes} echoes; their longest WRITE took "
            "{other} ms. Of connection 1 the server took {received} bytes and "
            "sent {sent}; then it read no more. The long WRITE ended as a "
            "{end} packet, error {error}, after the server was stopped.")
    documented = ("A send that can't be completed at once is pending; its "
                  "completion is indicated later, and until then its buffers "
                  "and its OVERLAPPED have to stay.")
    page = "WSASend function"

    def drive(self, server):
        send_until_stuck(server.connect(receive_buffer=4096))
        clients = [server.connect() for _ in range(3)]
        for i in range(10):
            for client in clients:
                echo(client, b"message %d" % i)
        leave(*clients)
        return {}

    def observe(self, model):
        writes = kernel_spans(model, "WRITE")
        mine = [s for s in writes if s["conn"] == 1]
        rest = [s for s in writes if s["conn"] != 1]
        if not mine or not rest:
            raise Failure("the trace has no WRITE of all connections")
        last = mine[-1]
        packet = operations(model, conn=1)[-1]
        closed = next((m for m in moments(model, "close") if m["conn"] == 1),
                      {"received": "?", "sent": "?"})
        return {"bytes": last["bytes"],
                "long": ms(last["end"] - last["start"]),
                "others": len({s["conn"] for s in rest}),
                "echoes": sum(last["start"] < p["start"] < last["end"]
                              and p["conn"] != 1
                              for p in of_kind(model, "WRITE")),
                "other": ms(max(s["end"] - s["start"] for s in rest)),
                "received": closed["received"], "sent": closed["sent"],
                "end": trace_view.KINDS[packet["kind"]],
                "error": packet["error"]}


class HalfClose(Lesson):
    about = "half-close after a burst: everything comes back, then the end"
    options = ["--workers", 4]
    burst = 40000  # bytes; socket buffers hold them while it only sends
    text = ("The client sent {sent} bytes, then its end of file, then began "
            "to read. It got {got} bytes ({same}) and then the server's end "
            "of file. The server took {reads} READs with data, and {ends} of "
            "0 bytes, {after} ms after the last WRITE was complete; it closed "
            "with reason {reason}, received {received}, sent {echoed}.")
    documented = ("On a byte stream, a receive that completes with zero bytes "
                  "says that the peer has closed its side in good order, and "
                  "that no more will come.")
    page = "WSARecv function"

    def drive(self, server):
        data = bytes(range(256)) * (self.burst // 256 + 1)
        data = data[:self.burst]
        client = server.connect()
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        got = receive_all(client)
        client.close()
        return {"sent": len(data), "got": len(got),
                "same": "the same" if got == data else "NOT THE SAME"}

    def observe(self, model):
        reads = of_kind(model, "READ")
        ends = [p for p in reads if p["bytes"] == 0]
        writes = of_kind(model, "WRITE")
        closed = moments(model, "close")
        if not ends or not writes or not closed:
            raise Failure("the trace has no whole connection")
        return {"reads": len(reads) - len(ends), "ends": len(ends),
                "after": ms(ends[-1]["start"] - writes[-1]["start"]),
                "reason": closed[-1]["reason"],
                "received": closed[-1]["received"],
                "echoed": closed[-1]["sent"]}


class Reset(Lesson):
    about = "a client resets: a failed packet, FALSE with an OVERLAPPED"
    options = ["--workers", 4]
    text = ("{failed} failed packet(s): {kinds}, error {codes}, of connection "
            "{conns}. Worker {worker} took it and closed the connection, "
            "reason {reason}. {after} packets of connection 2 came after it, "
            "{bad} of them failed. The WRITE had been the kernel's for "
            "{pending} ms.")
    documented = ("If *lpOverlapped is not NULL and the return value is "
                  "FALSE, a packet of a failed operation was dequeued; "
                  "GetLastError says how it failed.")
    page = "GetQueuedCompletionStatus function"
    wine = ("The WRITE is pending on purpose: under Wine a reset that meets a "
            "pending READ can look like an end of file. The error's number "
            "depends on the system.")

    def drive(self, server):
        doomed, other = server.connect(receive_buffer=4096), server.connect()
        echo(other, b"before")
        send_until_stuck(doomed)
        reset(doomed)
        for i in range(3):
            echo(other, b"after %d" % i)
            time.sleep(0.05)
        leave(other)
        return {}

    def observe(self, model):
        failed = of_kind(model, "failed READ", "failed WRITE")
        closed = moments(model, "close")
        if not failed or not closed:
            raise Failure("no operation has failed: the reset came unnoticed")
        first = failed[0]
        after = [p for p in operations(model, conn=2)
                 if p["start"] > first["start"]]
        span = [s for s in kernel_spans(model) if s["conn"] == first["conn"]
                and s["start"] < first["start"]][-1]
        return {"failed": len(failed), "codes": codes(failed),
                "kinds": listed(trace_view.KINDS[p["kind"]] for p in failed),
                "conns": listed(p["conn"] for p in failed),
                "worker": first["worker"],
                "reason": next((m["reason"] for m in closed
                                if m["conn"] == first["conn"]), "?"),
                "after": len(after), "bad": sum(p["error"] != 0
                                                for p in after),
                "pending": ms(span["end"] - span["start"])}


class Shutdown(Lesson):
    about = "Ctrl+C: cancelled packets, then one sentinel for each worker"
    options = ["--workers", 4]
    text = ("Ctrl+C came with {clients} clients connected and a READ pending "
            "for each. {cancels} operations were cancelled; {failed} failed "
            "packets came, error {codes}. {closes} connections were closed, "
            "the last at {last} ms. {gap} ms after that the first of {posted} "
            "sentinels was posted. {takers} of {workers} workers took {taken} "
            "sentinels: {order}. The server's exit status was 0.")
    documented = ("A cancelled operation that was pending still queues its "
                  "packet; its OVERLAPPED may not be freed or used again "
                  "before that.")
    page = "CancelIoEx function"

    def drive(self, server):
        clients = [server.connect() for _ in range(3)]
        for client in clients:
            echo(client, b"message")
        time.sleep(0.2)  # until each READ is pending again
        server.signal_stop()
        for client in clients:
            receive_all(client)  # up to the server's end of file
            client.close()
        return {"clients": len(clients)}

    def observe(self, model):
        failed = of_kind(model, "failed READ", "failed WRITE")
        closed = moments(model, "close")
        posted = moments(model, "sentinel posted")
        taken = of_kind(model, "sentinel")
        if not closed or not posted:
            raise Failure("the trace has no whole stop")
        return {"cancels": len(moments(model, "cancel")),
                "failed": len(failed), "codes": codes(failed),
                "closes": len(closed), "last": ms(closed[-1]["start"]),
                "gap": ms(posted[0]["start"] - closed[-1]["start"]),
                "posted": len(posted), "taken": len(taken),
                "takers": len({p["worker"] for p in taken}),
                "workers": len(model["workers"]),
                "order": "workers " + listed(p["worker"] for p in taken)}


class Posted(Lesson):
    about = "packets posted by hand are packets like any other"
    options = ["--workers", 4, "--post", 5]
    text = ("{posted} packets that no operation had caused were taken from "
            "the port, by workers {workers}. They came with the byte counts "
            "{bytes}, as the poster made them up, and with no OVERLAPPED. "
            "{operations} packets of operations came from the same port; "
            "{both} worker(s) took packets of both kinds.")
    documented = ("A posted packet satisfies a wait in "
                  "GetQueuedCompletionStatus with the three values the poster "
                  "gave; the system neither uses nor validates them.")
    page = "PostQueuedCompletionStatus function"

    def drive(self, server):
        client = server.connect()
        for i in range(4):
            echo(client, b"message %d" % i)
            time.sleep(0.02)
        leave(client)
        return {}

    def observe(self, model):
        posted = of_kind(model, "posted")
        workers = {p["worker"] for p in posted}
        rest = operations(model)
        return {"posted": len(posted),
                "workers": listed(p["worker"] for p in posted),
                "bytes": listed(p["bytes"] for p in posted),
                "operations": len(rest),
                "both": len(workers & {p["worker"] for p in rest})}


LESSONS = {"cycle": Cycle, "lifo": Lifo, "limit": Limit, "paused": Paused,
           "order": Order, "backpressure": BackPressure,
           "halfclose": HalfClose, "reset": Reset, "shutdown": Shutdown,
           "posted": Posted}
