"""The lessons.

A lesson has the server's options. drive() is its clients; observe() reads the
trace and returns a dict that fills in the text. The text holds only what was
observed; `documented` is what Microsoft's `page` says.
"""

import socket
import time

import trace_view
from parts.clients import receive_all, reset
from parts.language import fill, say
from parts.lesson_server import (
    echo, leave, receive_whole, send_until_stuck)
from parts.observed import (
    changes, codes, kernel_spans, kind_names, listed, moments, most_at_once,
    ms, of_kind, operations, overtaken, overtaken_within_connections,
    running_intervals, taken_beside, time_with_more, who_woke, work_intervals)
from parts.words import Failure


class Lesson:
    options = []
    wine = None  # how Wine differs, if that matters here
    paper = None  # where Wine hides the rules: where they can be watched
    # drive() for the simulated Windows: how many clients, messages of each,
    # milliseconds between these, and between one client and the next.
    simulated = ()

    def drive(self, server):
        """Runs the clients. Returns a dict of what only they can know."""

    def observe(self, model):
        """Returns a dict of the numbers in the text."""

    def observed(self, model, clients):
        try:
            return fill(self.text, **self.observe(model), **clients)
        except (LookupError, ValueError):
            # observe() does not check that the trace has what it reads.
            raise Failure(say({
                "en": "the trace does not show what happened",
                "ko": "트레이스에 일어난 일이 없습니다"})) from None


def on_paper(preset):
    """Says where the same runs by the rules that Windows documents."""
    return fill({
        "en": "Open this file in a browser to step through it as Windows "
              "documents it: scripts/playground.html#preset={preset}",
        "ko": "이 파일을 브라우저로 열면 윈도우 문서의 규칙대로 한 단계씩 볼 "
              "수 있습니다: scripts/playground.html#preset={preset}",
    }, preset=preset)


class Cycle(Lesson):
    about = {
        "en": "one client: READ, WRITE, READ; which worker takes each step?",
        "ko": "클라이언트 하나의 READ, WRITE, READ: 단계마다 누가 "
              "처리합니까?"}
    options = ["--workers", 4]
    text = {
        "en": "Connection 1 had {packets} packets, in this order: {kinds}. "
              "{alternating} of {steps} times a READ was followed by a "
              "WRITE or a WRITE by a READ. The workers that took them: "
              "{workers}. {changed} of {steps} times the next packet went "
              "to another worker than the one before.",
        "ko": "연결 1번의 완료 패킷 {packets}개는 {kinds}의 순서로 "
              "나왔습니다. 이어진 {steps}쌍 중 {alternating}쌍에서 READ와 "
              "WRITE가 번갈아 나왔습니다. 패킷을 꺼낸 작업자는 차례로 "
              "{workers}번입니다. {steps}번 중 {changed}번은 바로 앞과 다른 "
              "작업자가 다음 패킷을 꺼냈습니다."}
    documented = {
        "en": "A thread waits for a packet to be queued to the port, rather "
              "than for an operation of its own. Any thread that waits "
              "there may get it.",
        "ko": "쓰레드는 자기가 요청한 입출력이 아니라 완료 포트에 들어오는 "
              "완료 패킷을 기다립니다. 거기서 기다리는 쓰레드라면 어느 "
              "것이든 그 패킷을 받을 수 있습니다."}
    page = "I/O Completion Ports"
    wine = {
        "en": "Which worker is next depends on the order in which they are "
              "woken, and Wine's is not that of Windows: see lesson lifo.",
        "ko": "다음 작업자는 대기 쓰레드를 깨우는 순서에 달려 있고, Wine은 "
              "그 순서가 윈도우와 다릅니다. lifo 시연을 보십시오."}

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
        return {"packets": len(packets), "kinds": kind_names(packets),
                "steps": max(len(packets) - 1, 0),
                "alternating": changes(kinds),
                "workers": listed(workers), "changed": changes(workers)}


class Lifo(Lesson):
    about = {
        "en": "light load, many workers: who wakes?",
        "ko": "한가한 서버에 작업자가 여럿이면 누가 깨어납니까?"}
    options = ["--workers", 8]
    text = {
        "en": "One client, {packets} packets, {workers} workers: {used} of "
              "them took any. Packets per worker: {shares}. {choices} times "
              "a packet came while two or more workers waited and could be "
              "told apart: {shortest} times the one that had waited "
              "shortest took it (last in, first out), {longest} times the "
              "one that had waited longest (first in, first out), {another} "
              "times another.",
        "ko": "클라이언트 하나, 완료 패킷 {packets}개, 작업자 "
              "{workers}개입니다. 패킷을 하나라도 꺼낸 작업자는 "
              "{used}개이고, 작업자별 패킷 수는 {shares}입니다. 둘 이상의 "
              "작업자가 기다리고 있고 누가 먼저 기다렸는지 알 수 있을 때 온 "
              "패킷은 {choices}개입니다. 그중 {shortest}개는 가장 짧게 "
              "기다린 작업자(후입선출, LIFO)가, {longest}개는 가장 오래 "
              "기다린 작업자(선입선출, FIFO)가, {another}개는 그 밖의 "
              "작업자가 꺼냈습니다."}
    documented = {
        "en": "Threads that block on a completion port are released in "
              "last-in-first-out order; packets are queued "
              "first-in-first-out.",
        "ko": "완료 포트에서 기다리는 쓰레드는 후입선출(LIFO)로 깨어나고, "
              "완료 패킷은 선입선출(FIFO)로 큐에 쌓입니다."}
    page = "I/O Completion Ports"
    wine = {
        "en": "Wine 8 wakes the worker that has waited longest, Wine 10 the "
              "one that has waited shortest.",
        "ko": "Wine 8은 가장 오래 기다린 작업자를, Wine 10은 가장 짧게 "
              "기다린 작업자를 깨웁니다."}
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
    about = {
        "en": "workers 8, concurrency 2: how many compute at once?",
        "ko": "작업자 8개, 동시 실행 제한 2: 몇 개가 동시에 계산합니까?"}
    options = ["--workers", 8, "--concurrency", 2, "--work", "30:spin"]
    text = {
        "en": "{conns} clients, {reads} READs with 30 ms of computing each. "
              "At most {most} of {workers} workers computed at once; the "
              "port's limit was {limit}. More than {limit} did so for "
              "{over} ms of the {some} ms in which any did.",
        "ko": "클라이언트 {conns}개, READ {reads}번이고 READ마다 30 ms씩 "
              "계산합니다. 작업자 {workers}개 중 최대 {most}개가 동시에 "
              "계산했습니다. 완료 포트의 동시 실행 제한은 {limit}입니다. "
              "하나라도 계산하던 {some} ms 가운데 {limit}개를 넘긴 시간은 "
              "{over} ms입니다."}
    documented = {
        "en": "The concurrency value limits the number of runnable threads "
              "of a port. Once it is reached, further threads are blocked "
              "until the number falls below it.",
        "ko": "동시 실행 수는 한 완료 포트에서 실행될 수 있는 쓰레드의 수를 "
              "제한합니다. 그 수에 이르면 다른 쓰레드는 실행 중인 쓰레드가 "
              "줄어들 때까지 기다립니다."}
    page = "I/O Completion Ports"
    wine = {
        "en": "Wine 8 and Wine 10 ignore the limit.",
        "ko": "Wine 8과 Wine 10은 이 제한을 무시합니다."}
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
    about = {
        "en": "the same, but they sleep: is a further worker released?",
        "ko": "같은 조건에서 작업자가 잠들면: 다른 작업자가 더 나섭니까?"}
    options = Limit.options[:-1] + ["30:sleep"]
    text = {
        "en": "{conns} clients, {reads} READs in which the worker sleeps 30 "
              "ms. At most {most} of {workers} workers slept at once; the "
              "port's limit was {limit}. {beside} packets were taken while "
              "{limit} or more other workers slept. More than {limit} slept "
              "for {over} ms of the {some} ms in which any did. At most "
              "{running} ran at once, more than {limit} for {excess} ms.",
        "ko": "클라이언트 {conns}개, READ {reads}번이고 READ마다 작업자가 "
              "30 ms씩 잠듭니다. 작업자 {workers}개 중 최대 {most}개가 "
              "동시에 잠들어 있었습니다. 완료 포트의 동시 실행 제한은 "
              "{limit}입니다. 다른 작업자가 {limit}개 이상 잠들어 있는 동안 "
              "꺼낸 완료 패킷은 {beside}개입니다. 하나라도 잠들어 있던 "
              "{some} ms 가운데 {limit}개를 넘긴 시간은 {over} ms입니다. "
              "동시에 실행된 작업자는 최대 {running}개이고, {limit}개를 "
              "넘긴 시간은 {excess} ms입니다."}
    documented = {
        "en": "If a running thread of the port enters a wait state for "
              "another reason, a waiting thread may be released to process "
              "a packet. When the first runs again, there may for a brief "
              "period be more active threads than the limit.",
        "ko": "완료 포트의 실행 중인 쓰레드가 다른 이유로 대기 상태에 "
              "들어가면, 대기 쓰레드 하나가 깨어나 완료 패킷을 처리할 수 "
              "있습니다. 처음 쓰레드가 다시 실행되면 잠시 동안 실행 중인 "
              "쓰레드가 제한보다 많을 수 있습니다."}
    wine = {
        "en": "Wine 8 and Wine 10 ignore the limit, so this picture looks "
              "like that of lesson limit; on Windows compare the two.",
        "ko": "Wine 8과 Wine 10은 제한을 무시하므로 이 그림은 limit 시연의 "
              "그림과 비슷합니다. 윈도우에서 둘을 비교해 보십시오."}
    paper = on_paper("paused")


class Order(Lesson):
    about = {
        "en": "completion order is not issue order; within a connection it "
              "is",
        "ko": "완료 순서는 요청 순서와 다르지만, 한 연결 안에서는 같습니다"}
    options = ["--workers", 4]
    text = {
        "en": "The first READs were posted for connections {posted}; their "
              "packets were taken for connections {taken}. Of {operations} "
              "operations that succeeded, {overtaken} were overtaken: one "
              "posted later was complete earlier. Within one connection: "
              "{within}. {right} of {clients} clients got their bytes back "
              "in the order they sent them.",
        "ko": "첫 READ를 요청한 순서는 연결 {posted}번이고, 그 완료 패킷을 "
              "꺼낸 순서는 연결 {taken}번입니다. 성공한 입출력 "
              "{operations}개 중 {overtaken}개는 나중에 요청한 입출력보다 "
              "늦게 완료되었습니다. 한 연결 안에서 순서가 바뀐 것은 "
              "{within}개입니다. 클라이언트 {clients}개 중 {right}개가 보낸 "
              "순서대로 돌려받았습니다."}
    documented = {
        "en": "Packets are queued in the order of completion, "
              "first-in-first-out, but may be dequeued in a different order.",
        "ko": "완료 패킷은 완료된 순서대로 큐에 들어가지만(선입선출), "
              "꺼내는 순서는 다를 수 있습니다."}
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
    about = {
        "en": "a client that never reads: one long WRITE; the others go on",
        "ko": "읽지 않는 클라이언트: WRITE 하나만 길어지고 나머지는 계속"}
    options = ["--workers", 2, "--drain-timeout", 1]
    text = {
        "en": "Connection 1 never read. Its last WRITE, of {bytes} bytes, "
              "was the kernel's for {long} ms. In that time the other "
              "{others} connections got {echoes} echoes; their longest "
              "WRITE took {other} ms. Of connection 1 the server took "
              "{received} bytes and sent {sent}; then it read no more. The "
              "long WRITE ended as a {end} packet, error {error}, after the "
              "server was stopped.",
        "ko": "연결 1번은 아무것도 읽지 않았습니다. 마지막 WRITE "
              "{bytes}바이트는 {long} ms 동안 커널이 갖고 있었습니다. "
              "그동안 나머지 연결 {others}개는 에코를 {echoes}번 받았고, 이 "
              "연결들의 가장 긴 WRITE는 {other} ms 걸렸습니다. 서버는 연결 "
              "1번에서 {received}바이트를 받아 {sent}바이트를 보낸 뒤로 "
              "더는 읽지 않았습니다. 긴 WRITE는 서버의 종료가 시작된 뒤에 "
              "{end} 패킷(오류 {error})으로 끝났습니다."}
    documented = {
        "en": "A send that can't be completed at once is pending; its "
              "completion is indicated later, and until then its buffers "
              "and its OVERLAPPED have to stay.",
        "ko": "바로 끝낼 수 없는 송신은 진행 중(pending)이 됩니다. 완료는 "
              "나중에 알려 주며, 그때까지 버퍼와 OVERLAPPED를 그대로 두어야 "
              "합니다."}
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
            raise Failure(say({
                "en": "the trace has no WRITE of all connections",
                "ko": "트레이스에 모든 연결의 WRITE가 있지는 않습니다"}))
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
                "end": kind_names([packet]),
                "error": packet["error"]}


class HalfClose(Lesson):
    about = {
        "en": "half-close after a burst: everything comes back, then the end",
        "ko": "몰아서 보낸 뒤의 half-close: 모두 돌아온 다음에 EOF"}
    options = ["--workers", 4]
    burst = 40000  # bytes; socket buffers hold them while it only sends
    text = {
        "en": "The client sent {sent} bytes, then its end of file, then "
              "began to read. It got {got} bytes ({same}) and then the "
              "server's end of file. The server took {reads} READs with "
              "data, and {ends} of 0 bytes, {after} ms after the last WRITE "
              "was complete; it closed with reason {reason}, received "
              "{received}, sent {echoed}.",
        "ko": "클라이언트는 {sent}바이트와 파일의 끝(EOF)을 보낸 다음에야 읽기 "
              "시작했습니다. {got}바이트를 돌려받았고({same}), 이어서 "
              "서버의 EOF를 받았습니다. 서버의 READ는 데이터가 있는 것이 "
              "{reads}번, 0바이트가 {ends}번이고, 0바이트 READ는 마지막 "
              "WRITE가 완료되고 {after} ms 뒤에 왔습니다. 서버는 "
              "{received}바이트를 받아 {echoed}바이트를 보내고 연결을 "
              "닫았으며, 기록한 이유는 {reason}입니다."}
    documented = {
        "en": "On a byte stream, a receive that completes with zero bytes "
              "says that the peer has closed its side in good order, and "
              "that no more will come.",
        "ko": "바이트 스트림에서 0바이트로 완료된 수신은 상대가 자기 쪽을 "
              "정상적으로 닫았고 더는 데이터가 오지 않는다는 뜻입니다."}
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
                "same": {"en": "the same", "ko": "보낸 것과 같습니다"}
                if got == data else {"en": "NOT THE SAME",
                                     "ko": "보낸 것과 다릅니다"}}

    def observe(self, model):
        reads = of_kind(model, "READ")
        ends = [p for p in reads if p["bytes"] == 0]
        writes = of_kind(model, "WRITE")
        closed = moments(model, "close")
        if not ends or not writes or not closed:
            raise Failure(say({
                "en": "the trace has no whole connection",
                "ko": "트레이스에 온전한 연결이 없습니다"}))
        return {"reads": len(reads) - len(ends), "ends": len(ends),
                "after": ms(ends[-1]["start"] - writes[-1]["start"]),
                "reason": closed[-1]["reason"],
                "received": closed[-1]["received"],
                "echoed": closed[-1]["sent"]}


class Reset(Lesson):
    about = {
        "en": "a client resets: a failed packet, FALSE with an OVERLAPPED",
        "ko": "클라이언트의 강제 종료: 실패한 패킷, FALSE와 OVERLAPPED"}
    options = ["--workers", 4]
    text = {
        "en": "{failed} failed packet(s): {kinds}, error {codes}, of "
              "connection {conns}. Worker {worker} took it and closed the "
              "connection, reason {reason}. {after} packets of connection 2 "
              "came after it, {bad} of them failed. The WRITE had been the "
              "kernel's for {pending} ms.",
        "ko": "실패한 완료 패킷은 {failed}개입니다({kinds}, 오류 {codes}, "
              "연결 {conns}번). 작업자 {worker}번이 꺼내서 연결을 닫았고, "
              "기록한 이유는 {reason}입니다. 그 뒤에 연결 2번의 완료 패킷이 "
              "{after}개 왔고, 그중 실패한 것은 {bad}개입니다. 실패한 "
              "WRITE는 {pending} ms 동안 커널이 갖고 있었습니다."}
    documented = {
        "en": "If *lpOverlapped is not NULL and the return value is FALSE, "
              "a packet of a failed operation was dequeued; GetLastError "
              "says how it failed.",
        "ko": "반환값이 FALSE이고 *lpOverlapped가 NULL이 아니면, 실패한 "
              "입출력의 완료 패킷을 꺼낸 것입니다. 어떻게 실패했는지는 "
              "GetLastError가 알려 줍니다."}
    page = "GetQueuedCompletionStatus function"
    wine = {
        "en": "The WRITE is pending on purpose: under Wine a reset that "
              "meets a pending READ can look like an end of file. The "
              "error's number depends on the system.",
        "ko": "일부러 WRITE가 진행 중일 때 끊습니다. Wine에서는 READ가 진행 "
              "중일 때 강제로 끊으면 EOF처럼 보일 수 있기 때문입니다. 오류 "
              "번호는 시스템마다 다릅니다."}

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
            raise Failure(say({
                "en": "no operation has failed: the reset came unnoticed",
                "ko": "실패한 입출력이 없습니다. 서버가 강제 종료를 알아차리지 "
                      "못했습니다"}))
        first = failed[0]
        after = [p for p in operations(model, conn=2)
                 if p["start"] > first["start"]]
        span = [s for s in kernel_spans(model) if s["conn"] == first["conn"]
                and s["start"] < first["start"]][-1]
        return {"failed": len(failed), "codes": codes(failed),
                "kinds": kind_names(failed),
                "conns": listed(p["conn"] for p in failed),
                "worker": first["worker"],
                "reason": next((m["reason"] for m in closed
                                if m["conn"] == first["conn"]), "?"),
                "after": len(after), "bad": sum(p["error"] != 0
                                                for p in after),
                "pending": ms(span["end"] - span["start"])}


class Shutdown(Lesson):
    about = {
        "en": "Ctrl+C: cancelled packets, then one sentinel for each worker",
        "ko": "Ctrl+C: 취소된 완료 패킷, 그다음 작업자마다 종료 패킷 하나"}
    options = ["--workers", 4]
    text = {
        "en": "Ctrl+C came with {clients} clients connected and a READ "
              "pending for each. {cancels} operations were cancelled; "
              "{failed} failed packets came, error {codes}. {closes} "
              "connections were closed, the last at {last} ms. {gap} ms "
              "after that the first of {posted} sentinels was posted. "
              "{takers} of {workers} workers took {taken} sentinels: "
              "workers {order}. The server's exit status was 0.",
        "ko": "클라이언트 {clients}개가 연결되어 있고 연결마다 READ가 진행 "
              "중일 때 Ctrl+C를 눌렀습니다. 입출력 {cancels}개를 취소했고, "
              "실패한 완료 패킷이 {failed}개(오류 {codes}) 왔습니다. 연결 "
              "{closes}개를 닫았고, 마지막 연결은 {last} ms에 닫았습니다. "
              "그로부터 {gap} ms 뒤에 종료 패킷 {posted}개 중 첫째를 완료 "
              "포트에 넣었습니다. 작업자 {workers}개 중 {takers}개가 종료 "
              "패킷 {taken}개를 꺼냈고, 그 순서는 작업자 {order}번입니다. "
              "서버의 종료 상태는 0입니다."}
    documented = {
        "en": "A cancelled operation that was pending still queues its "
              "packet; its OVERLAPPED may not be freed or used again before "
              "that.",
        "ko": "진행 중에 취소된 입출력도 완료 패킷이 큐에 들어갑니다. 그 "
              "전에는 OVERLAPPED를 해제하거나 다시 쓰면 안 됩니다."}
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
            raise Failure(say({
                "en": "the trace has no whole stop",
                "ko": "트레이스에 온전한 종료 과정이 없습니다"}))
        return {"cancels": len(moments(model, "cancel")),
                "failed": len(failed), "codes": codes(failed),
                "closes": len(closed), "last": ms(closed[-1]["start"]),
                "gap": ms(posted[0]["start"] - closed[-1]["start"]),
                "posted": len(posted), "taken": len(taken),
                "takers": len({p["worker"] for p in taken}),
                "workers": len(model["workers"]),
                "order": listed(p["worker"] for p in taken)}


class Posted(Lesson):
    about = {
        "en": "packets posted by hand are packets like any other",
        "ko": "직접 넣은 패킷도 다른 완료 패킷과 똑같습니다"}
    options = ["--workers", 4, "--post", 5]
    text = {
        "en": "{posted} packets that no operation had caused were taken "
              "from the port, by workers {workers}. They came with the byte "
              "counts {bytes}, as the poster made them up, and with no "
              "OVERLAPPED. {operations} packets of operations came from the "
              "same port; {both} worker(s) took packets of both kinds.",
        "ko": "입출력 없이 직접 넣은 패킷 {posted}개를 작업자 {workers}번이 "
              "차례로 꺼냈습니다. 바이트 수는 넣은 쪽이 지어낸 {bytes}이고, "
              "OVERLAPPED는 없었습니다. 입출력의 완료 패킷 {operations}개도 "
              "같은 포트에서 나왔고, 두 가지를 모두 꺼낸 작업자는 "
              "{both}개입니다."}
    documented = {
        "en": "A posted packet satisfies a wait in "
              "GetQueuedCompletionStatus with the three values the poster "
              "gave; the system neither uses nor validates them.",
        "ko": "직접 넣은 패킷은 GetQueuedCompletionStatus의 대기를 끝내고, "
              "넣은 쪽이 준 세 값을 그대로 전합니다. 시스템은 그 값을 "
              "쓰지도 검사하지도 않습니다."}
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


TRACED = {"cycle": Cycle, "lifo": Lifo, "limit": Limit, "paused": Paused,
          "order": Order, "backpressure": BackPressure,
          "halfclose": HalfClose, "reset": Reset, "shutdown": Shutdown,
          "posted": Posted}
