"""Lessons without a picture: they count calls.

Their programs are those of the checked build, which records its calls (see
tests/checked/checked.h). count() runs them and returns a dict that fills in
the text; `meaning` says what follows from it.
"""

import select
import socket
import threading
import time

import launch
import trace_view
from parts import costs
from parts.clients import receive
from parts.lesson_server import (
    LessonServer, echo, leave, send_until_stuck, traced)
from parts.observed import kernel_spans, listed, moments, ms
from parts.server import fields
from parts.words import Failure


class Counted:
    wine = None  # how Wine differs, if that matters here

    def count(self, directory):
        """Runs the programs. Returns a dict of the numbers in the text."""


class Step(LessonServer):
    """A step of the chapter, which has no end of its own."""

    def stop(self):
        self.kill()


def built(name=costs.CHECKED.name):
    """Returns a program of the checked build. Raises Failure if it is not
    there."""
    path = costs.CHECKED.with_name(name)
    why_not = costs.why_no_calls(path)
    if why_not:
        raise Failure(why_not)
    return path


def perform(server, drive, variable):
    """Runs the server with these clients. Returns the file of its calls, for
    which the variable asks."""
    path = server.log.with_suffix(".calls")
    if path.exists():
        path.unlink()
    server.options["env"][variable] = launch.windows_path(path.resolve())
    server.perform(drive)
    return path


def posts(path, name):
    """Returns the arguments of each call of WSARecv or WSASend, and of those
    that were done at once."""
    every = [each for call, each in costs.asked_in(path) if call == name]
    return every, [each for each in every if each["code"] == "0"]


class AtOnce(Counted):
    about = {
        "en": "an operation that is done at once: is there a packet too?",
        "ko": "바로 끝난 입출력에도 완료 패킷이 옵니까?"}
    text = {
        "en": "A client sent {messages} messages, and then {burst} bytes in "
              "one go. The server posted {posts} operations. {done} of them "
              "were done at once: {sends} of {all_sends} WRITEs and "
              "{receives} of {all_receives} READs. It took {packets} packets. "
              "With --inline 1000 the server posted {inline_posts} "
              "operations, {inline_done} were done at once, and it took "
              "{inline_packets} packets: {inline} operations were handled "
              "without one.",
        "ko": "클라이언트가 메시지 {messages}개를 보낸 다음 {burst}바이트를 "
              "한꺼번에 보냈습니다. 서버가 요청한 입출력은 {posts}개입니다. "
              "그중 {done}개(WRITE {all_sends}개 중 {sends}개, READ "
              "{all_receives}개 중 {receives}개)는 바로 끝났습니다. 서버가 "
              "꺼낸 완료 패킷은 {packets}개입니다. --inline 1000을 붙이면 "
              "서버가 요청한 입출력은 {inline_posts}개, 바로 끝난 것은 "
              "{inline_done}개, 꺼낸 완료 패킷은 {inline_packets}개입니다. "
              "{inline}개는 완료 패킷 없이 처리했습니다."}
    meaning = {
        "en": "WSARecv and WSASend say whether an operation is done (0) or "
              "pending (WSA_IO_PENDING). Either way its packet comes. A "
              "program that handles what is done at once and waits for the "
              "packet too handles it twice. Only a socket with "
              "FILE_SKIP_COMPLETION_PORT_ON_SUCCESS, which --inline sets, "
              "gets no packet for it.",
        "ko": "WSARecv와 WSASend는 입출력이 끝났는지(0) 진행 중인지"
              "(WSA_IO_PENDING) 알려 줍니다. 어느 쪽이든 완료 패킷은 옵니다. "
              "바로 끝난 것을 그 자리에서 처리하고 완료 패킷도 처리하면 두 번 "
              "처리하게 됩니다. 완료 패킷이 오지 않는 것은 소켓에 "
              "FILE_SKIP_COMPLETION_PORT_ON_SUCCESS를 설정했을 때뿐이고, "
              "--inline이 그것을 설정합니다."}
    documented = {
        "en": "With FILE_SKIP_COMPLETION_PORT_ON_SUCCESS the system queues no "
              "packet for a request that returns success at once, where it "
              "would queue one otherwise.",
        "ko": "FILE_SKIP_COMPLETION_PORT_ON_SUCCESS를 설정하면, 요청이 바로 "
              "성공했을 때 원래 큐에 넣었을 완료 패킷을 넣지 않습니다."}
    page = "SetFileCompletionNotificationModes function"
    wine = {
        "en": "Which operations are done at once depends on the system and on "
              "the moment. That each has its packet does not.",
        "ko": "어느 입출력이 바로 끝나는지는 시스템과 그때의 상황에 달려 "
              "있습니다. 완료 패킷이 온다는 것은 어디서나 같습니다."}
    messages, burst = 10, 20000

    def drive(self, server):
        client = server.connect()
        time.sleep(0.1)  # until the first READ is posted
        for i in range(self.messages):
            echo(client, b"message %d" % i)
            time.sleep(0.02)
        echo(client, b"x" * self.burst)
        leave(client)

    def run(self, directory, name, *options):
        """Returns how many operations were posted, how many of each kind were
        done at once, how many packets came, and what the workers handled
        without one."""
        server = LessonServer(built(), directory, name, traced(name, options))
        path = perform(server, self.drive, "ASKED")
        sends, sent = posts(path, "WSASend")
        receives, received = posts(path, "WSARecv")
        workers = list(map(fields, server.printed("worker ")))
        return {"posts": len(sends) + len(receives),
                "done": len(sent) + len(received),
                "sends": len(sent), "all_sends": len(sends),
                "receives": len(received), "all_receives": len(receives),
                "packets": server.reported(),
                "inline": sum(int(row.get("inline", 0)) for row in workers)}

    def count(self, directory):
        inline = self.run(directory, "at-once-inline", "--inline", 1000)
        return {**self.run(directory, "at-once"),
                "messages": self.messages, "burst": self.burst,
                "inline": inline["inline"], "inline_posts": inline["posts"],
                "inline_done": inline["done"],
                "inline_packets": inline["packets"]}


class Shortened(Counted):
    about = {
        "en": "the chapter's length: after one byte, one byte at a time",
        "ko": "책의 길이 버그: 1바이트를 받은 뒤로는 1바이트씩만"}
    text = {
        "en": "A client sent 1 byte, waited for its echo, and sent {size} "
              "bytes. Step 3 made {receives} calls of WSARecv (lengths in "
              "bytes: {lengths}) and {sends} of WSASend. As the chapter lists "
              "it, it made {listed_receives} calls of WSARecv (lengths in "
              "bytes: {listed_lengths}) and {listed_sends} of WSASend.",
        "ko": "클라이언트가 1바이트를 보내고 에코를 받은 다음 {size}바이트를 "
              "보냈습니다. 3단계 서버는 WSARecv를 {receives}번(요청한 "
              "바이트: {lengths}), WSASend를 {sends}번 호출했습니다. 책의 "
              "코드대로 하면 WSARecv를 {listed_receives}번(요청한 바이트: "
              "{listed_lengths}), WSASend를 {listed_sends}번 호출했습니다."}
    meaning = {
        "en": "ReadCompRoutine sets wsaBuf.len to what it received, for the "
              "WSASend. WriteCompRoutine posts the next WSARecv with the same "
              "wsaBuf, so the buffer is never longer than the shortest "
              "message so far. Everything is still echoed, and so nobody "
              "notices, except by the time it takes. Set the length again "
              "before each WSARecv.",
        "ko": "ReadCompRoutine은 WSASend를 위해 wsaBuf.len을 받은 길이로 "
              "바꿉니다. WriteCompRoutine은 그 wsaBuf로 다음 WSARecv를 "
              "요청하므로, 버퍼는 그때까지 받은 가장 짧은 메시지보다 길어질 "
              "수 없습니다. 에코는 모두 돌아오므로 느려진 것 말고는 아무도 "
              "알아차리지 못합니다. WSARecv를 요청하기 전에 길이를 다시 "
              "정해야 합니다."}
    documented = {
        "en": "The len of a WSABUF is the length of the buffer, and a receive "
              "fills at most that many bytes.",
        "ko": "WSABUF의 len은 버퍼의 길이이고, 수신은 그 길이까지만 "
              "채웁니다."}
    page = "WSARecv function"
    wine = None
    size = 1000

    def drive(self, server):
        client = server.connect()
        echo(client, b"1")
        echo(client, b"x" * self.size)
        leave(client)

    def count(self, directory):
        found = {"size": self.size}
        for program, which in (("step3_completion_routine", ""),
                               ("step3_as_listed", "listed_")):
            path = perform(Step(built(program + ".exe"), directory, program,
                                ()), self.drive, "ASKED")
            receives = posts(path, "WSARecv")[0]
            found[which + "receives"] = len(receives)
            found[which + "lengths"] = listed(dict.fromkeys(
                each["bytes"] for each in receives))
            found[which + "sends"] = len(posts(path, "WSASend")[0])
        return found


class Copies(Counted):
    about = {
        "en": "SO_SNDBUF 0 against the default: who holds the bytes?",
        "ko": "SO_SNDBUF 0과 기본값: 보낼 바이트를 누가 갖고 있습니까?"}
    text = {
        "en": "A client sent {size} bytes and began to read {wait} ms later. "
              "The packet of the longest WRITE, of {bytes} bytes, came after "
              "{time} ms with the default send buffer, and after {time_0} ms "
              "with SO_SNDBUF 0. Of a client that never reads the server took "
              "{received} bytes and sent {sent} with the default; with "
              "SO_SNDBUF 0 it took {received_0} and sent {sent_0}.",
        "ko": "클라이언트가 {size}바이트를 보내고 {wait} ms 뒤에 읽기 "
              "시작했습니다. 가장 긴 WRITE({bytes}바이트)의 완료 패킷은 송신 "
              "버퍼가 기본값이면 {time} ms, SO_SNDBUF가 0이면 {time_0} ms "
              "뒤에 왔습니다. 전혀 읽지 않는 클라이언트에게서 서버가 받은 "
              "것과 보낸 것은 기본값이면 {received}바이트와 {sent}바이트, "
              "SO_SNDBUF가 0이면 {received_0}바이트와 {sent_0}바이트입니다."}
    meaning = {
        "en": "By default a WRITE is done when the system has copied its "
              "bytes, and says nothing about the client. So \"no copy\" is "
              "true of this program's own code alone. The copies are the "
              "system's memory: what it holds for a client that does not read "
              "is what the server sent too much. Without the send buffer the "
              "WRITE lasts until the other side has the bytes, its buffer "
              "stays locked that long, and nothing is on its way between one "
              "WRITE and the next. That pays with large WRITEs, several at "
              "once; for small messages, one at a time, it costs.",
        "ko": "기본값에서는 시스템이 바이트를 복사하면 WRITE가 완료됩니다. "
              "클라이언트가 받았는지와는 상관이 없습니다. 그러므로 \"복사가 "
              "없다\"는 말은 이 프로그램의 코드에만 맞습니다. 복사본은 "
              "시스템의 메모리에 있고, 읽지 않는 클라이언트가 있으면 그만큼 "
              "쌓입니다. 송신 버퍼가 없으면 상대가 바이트를 받을 때까지 "
              "WRITE가 끝나지 않고, 그동안 버퍼가 잠겨 있으며, 한 WRITE가 "
              "끝나고 다음 WRITE를 요청할 때까지는 아무것도 전송되지 "
              "않습니다. 큰 WRITE를 여럿 한꺼번에 요청할 때에만 이득이고, "
              "작은 메시지를 하나씩 보낼 때에는 손해입니다."}
    documented = {
        "en": "Winsock copies what is sent to a buffer of its own, and then "
              "the send is complete: in most cases that does not say that the "
              "bytes have left. With SO_SNDBUF 0 there is no such buffer.",
        "ko": "Winsock은 보낼 데이터를 자기 버퍼에 복사하고, 그러면 송신은 "
              "완료됩니다. 대개 그 완료는 데이터가 네트워크로 나갔다는 뜻이 "
              "아닙니다. SO_SNDBUF가 0이면 그런 버퍼가 없습니다."}
    page = ("Design issues - Sending small data segments over TCP with "
            "Winsock")
    wine = {
        "en": "Wine passes the 0 on to Linux, whose smallest send buffer is "
              "some 4 KB. So here each WRITE is still copied, in pieces as "
              "small as that, and a small message costs no more than by "
              "default. Windows copies nothing then, and a WRITE of any size "
              "waits for the other side.",
        "ko": "Wine은 0을 리눅스에 그대로 전하지만, 리눅스의 가장 작은 송신 "
              "버퍼는 4KB쯤입니다. 그래서 여기서는 WRITE를 그만큼씩 잘라 "
              "여전히 복사하고, 작은 메시지는 기본값일 때와 다르지 않습니다. "
              "윈도우는 이때 복사하지 않으며, 작은 WRITE도 상대를 "
              "기다립니다."}
    size, wait = 60000, 0.3  # bytes, seconds

    def drive(self, server):
        late = server.connect(receive_buffer=4096)
        late.sendall(b"x" * self.size)
        time.sleep(self.wait)
        receive(late, self.size)
        leave(late)
        send_until_stuck(server.connect(receive_buffer=4096))

    def measure(self, directory, name, **env):
        """Returns the size and the time of the first client's longest WRITE,
        and what the server received of the other and sent."""
        LessonServer(built(), directory, name,
                     traced(name, ["--drain-timeout", 1]),
                     **env).perform(self.drive)
        model = trace_view.load(directory / f"{name}.json")
        longest = max((span for span in kernel_spans(model, "WRITE")
                       if span["conn"] == 1), key=lambda span: span["bytes"])
        stuck = moments(model, "close")[-1]
        return (longest["bytes"], ms(longest["end"] - longest["start"]),
                stuck["received"], stuck["sent"])

    def count(self, directory):
        size, time_, received, sent = self.measure(directory, "copies")
        _, time_0, received_0, sent_0 = self.measure(
            directory, "copies-0", SEND_BUFFER="0")
        return {"size": self.size, "wait": int(self.wait * 1000),
                "bytes": size, "time": time_, "time_0": time_0,
                "received": received, "sent": sent,
                "received_0": received_0, "sent_0": sent_0}


class SelectEcho(threading.Thread):
    """An echo server with select. Counts the calls that its echoes take, and
    the sockets that select has to look at for them."""

    def __init__(self, clients):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=clients)
        self.port = self.listener.getsockname()[1]
        self.clients = clients
        self.calls = dict.fromkeys(("select", "looked", "recv", "send"), 0)

    def run(self):
        """Accepts the clients. Returns when all have gone."""
        with self.listener:
            sockets = [self.listener.accept()[0] for _ in range(self.clients)]
        while sockets:
            ready = select.select(sockets, [], [])[0]
            echoed = [self.echo(client) for client in ready]
            if any(echoed):
                self.calls["select"] += 1
                self.calls["looked"] += len(sockets)
            for client, data in zip(ready, echoed):
                if not data:  # end of file
                    sockets.remove(client)
                    client.close()

    def echo(self, client):
        data = client.recv(4096)
        if data:
            client.sendall(data)
            self.calls["recv"] += 1
            self.calls["send"] += 1
        return data


class Calls(Counted):
    about = {
        "en": "how many calls does an echo cost, against select?",
        "ko": "에코 한 번에 호출이 몇 번 듭니까? select와 비교합니다"}
    text = {
        "en": "Calls for one echo, with 1, 10 and 100 clients that each send "
              "a message at the same time. The completion port: {port_1}, "
              "{port_10} and {port_100} (WSARecv, WSASend, and two of "
              "GetQueuedCompletionStatus). A loop of select, recv and send: "
              "{loop_1}, {loop_10} and {loop_100}. For one echo select looked "
              "at {looked_1}, {looked_10} and {looked_100} sockets. With 100 "
              "clients of which one sends: {port_one} calls with the port, "
              "{loop_one} with select, which looked at {looked_one} sockets.",
        "ko": "에코 한 번에 드는 호출의 수입니다. 클라이언트 1개, 10개, "
              "100개가 저마다 메시지를 동시에 하나씩 보냅니다. 완료 포트는 "
              "{port_1}, {port_10}, {port_100}번(WSARecv, WSASend, "
              "GetQueuedCompletionStatus 두 번)이고, select, recv, send의 "
              "반복은 {loop_1}, {loop_10}, {loop_100}번입니다. 에코 한 번에 "
              "select가 살펴본 소켓은 {looked_1}, {looked_10}, "
              "{looked_100}개입니다. 클라이언트 100개 중 하나만 보낼 때에는 "
              "완료 포트가 {port_one}번, select가 {loop_one}번이고, select가 "
              "살펴본 소켓은 {looked_one}개입니다."}
    meaning = {
        "en": "Each call is a switch to the kernel and back. The port does "
              "not save any: each operation is posted, and each packet taken, "
              "however many clients or CPUs there are. select tells of all "
              "that are ready in one call, and so makes fewer. What it costs "
              "is the search: it gets the whole list each time, also for one "
              "message of 100 clients. The port names the connection, any "
              "thread may take the next packet, and the bytes are there "
              "already. One call takes several packets only with "
              "GetQueuedCompletionStatusEx: see --batch.",
        "ko": "호출 하나가 커널로 갔다 오는 모드 전환 하나입니다. 완료 포트는 "
              "이것을 줄이지 않습니다. 클라이언트나 CPU의 수와 상관없이 "
              "입출력마다 요청하고 완료 패킷마다 꺼냅니다. select는 준비된 "
              "소켓을 한 번에 모두 알려 주므로 오히려 호출이 적습니다. 대신 "
              "찾는 값이 듭니다. 100개 중 하나만 메시지를 보내도 매번 목록 "
              "전체를 넘겨받아 살펴봅니다. 완료 포트는 어느 연결인지 바로 "
              "알려 주고, 다음 완료 패킷은 어느 쓰레드든 꺼낼 수 있으며, 그때 "
              "데이터는 이미 버퍼에 있습니다. 한 번에 여러 패킷을 꺼내는 것은 "
              "GetQueuedCompletionStatusEx뿐입니다(--batch)."}
    documented = {
        "en": "select takes a set of sockets and returns those that are "
              "ready. A set holds FD_SETSIZE sockets, 64 by default.",
        "ko": "select는 소켓의 집합을 받아 준비된 것을 돌려줍니다. 집합의 "
              "크기는 FD_SETSIZE이고 기본값은 64입니다."}
    page = "select function"
    wine = {
        "en": "Under Wine most of these calls ask another process, so they "
              "take longer. Their number is the same.",
        "ko": "Wine에서는 이 호출들이 대개 다른 프로세스에 묻기 때문에 더 "
              "오래 걸립니다. 호출의 수는 같습니다."}
    port_calls = ("WSARecv", "WSASend", "GetQueuedCompletionStatus")
    few, more = 5, 20  # rounds; the port's first ones are subtracted

    def talk(self, connected, speaking, rounds):
        """All who speak send a message, then all receive theirs."""
        for _ in range(rounds):
            for client in connected[:speaking]:
                client.sendall(costs.MESSAGE)
            for client in connected[:speaking]:
                if receive(client, len(costs.MESSAGE)) != costs.MESSAGE:
                    raise Failure("a wrong echo")
        leave(*connected)

    def with_port(self, directory, clients, speaking, rounds):
        server = LessonServer(built(), directory, "calls",
                              ["--bind", "127.0.0.1"])
        return costs.calls_in(perform(server, lambda _: self.talk(
            [server.connect() for _ in range(clients)], speaking, rounds),
            "COUNTS"))

    def with_select(self, clients, speaking, rounds):
        server = SelectEcho(clients)
        server.start()
        self.talk([costs.connect("127.0.0.1", server.port)
                   for _ in range(clients)], speaking, rounds)
        server.join()
        return server.calls

    def count(self, directory):
        found = {}
        for name, clients, speaking in (("1", 1, 1), ("10", 10, 10),
                                        ("100", 100, 100), ("one", 100, 1)):
            port = costs.of_one(lambda rounds: self.with_port(
                directory, clients, speaking, rounds), self.few, self.more)
            loop = self.with_select(clients, speaking, self.more)
            looked = loop.pop("looked")
            for key, value in (
                    ("port", sum(port[call] for call in self.port_calls)),
                    ("loop", sum(loop.values()) / self.more),
                    ("looked", looked / self.more)):
                found[f"{key}_{name}"] = f"{value / speaking:.3g}"
        return found


COUNTED = {"at-once": AtOnce, "shortened": Shortened, "copies": Copies,
           "calls": Calls}
