"""The ownership argument, checked in every order of events there is.

A small model of what src/connection.h, worker.c, registry.c and server.c say:
connections that belong to main, the kernel or one worker; a port that queues
packets; a stop that sweeps, cuts and posts sentinels. A search visits every
state that any interleaving reaches and looks for

    - a connection touched after it was freed, or by two at a time;
    - a packet or a sentinel that nobody takes, a worker that does not end;
    - a stop that can't come to its end, whatever clients do: anything at all,
      nothing any more, or sending without a pause;
    - bytes that were received and are dropped while the drain lasts.

Two things can be turned on: a post that is done at once and whose poster goes
on by itself (`inline`, so many times in a row; then it posts the packet, for
others to have a turn), and workers that take several packets at once
(`batch`).

Then the same for models that are wrong on purpose, as the search is worth
nothing if it can't find a mistake.

A step is what one thread does without another being able to tell the moment
in between: a Win32 call, or what it does under the registry's lock.
"""

import collections

import pytest

RUNNING, DRAINING, CUTTING = range(3)

Connection = collections.namedtuple(
    "Connection", "owner pending held messages discarding listed")
# owner: "client" (not accepted), "main", "kernel", "freed" or a worker
# pending: "" or the operation the kernel has: "READ", "WRITE"
# held: bytes were received and not yet echoed
# messages: how many the client will still send

State = collections.namedtuple(
    "State", "connections queue workers batches inline main phase")
# queue: packets, oldest first: (connection, mode, result) or "sentinel"
# workers: ("waiting",), ("holds", c, mode, result), ("posts", c, mode),
#          ("reposts", c, mode, result), ("closes", c) and ("ended",)
# batches: for each worker what it has taken and not yet looked at
# inline: for each worker how many posts in a row were done at once
# main: ("accepts",), ("posts", c), ("reposts", c, result), ("drains",),
#       ("sweeps", c), ("sweeps", c, "decided") (of a wrong model),
#       ("sentinels", n), ("joins",), ("ended",)


class Mistake(Exception):
    """What the search is looking for."""


class Model:
    """All steps that are possible in a state."""

    def __init__(self, connections=2, workers=2, clients="any", wrong="",
                 inline=0, batch=1):
        self.clients = clients
        self.wrong = wrong
        self.inline = inline
        self.batch = batch
        self.start = State(
            tuple(Connection("client", "", False, 1, False, False)
                  for _ in range(connections)),
            (), (("waiting",),) * workers, ((),) * workers, (0,) * workers,
            ("accepts",), RUNNING)

    # ------------------------------- helpers -------------------------------

    @staticmethod
    def with_connection(state, c, **changes):
        connections = list(state.connections)
        connections[c] = connections[c]._replace(**changes)
        return state._replace(connections=tuple(connections))

    @staticmethod
    def with_worker(state, w, *doing):
        workers = list(state.workers)
        workers[w] = doing
        return state._replace(workers=tuple(workers))

    @staticmethod
    def with_batch(state, w, batch):
        batches = list(state.batches)
        batches[w] = batch
        return state._replace(batches=tuple(batches))

    @staticmethod
    def with_inline(state, w, count):
        inline = list(state.inline)
        inline[w] = count
        return state._replace(inline=tuple(inline))

    @staticmethod
    def owned(state, c, by):
        """Whoever touches a connection has to be its owner."""
        if state.connections[c].owner != by:
            raise Mistake(f"{by} touches #{c}, which belongs to "
                          f"{state.connections[c].owner}")

    @staticmethod
    def lock_is_free(state):
        return state.main[0] != "sweeps"

    def live(self, state):
        return sum(each.listed for each in state.connections)

    # ------------------------------ the kernel -----------------------------

    def post(self, state, c, mode, by):
        """WSARecv or WSASend: the connection is the kernel's from here on."""
        self.owned(state, c, by)
        state = self.with_connection(state, c, owner="kernel", pending=mode)
        if self.clients == "flooding" and mode == "READ":
            state = self.complete(state, c, "data")
        return state

    def at_once(self, state, c, mode):
        """The ways in which a post can be done at once: there is no packet,
        and who posted is still the owner. (state, result) of each."""
        if not self.inline:
            return
        each = state.connections[c]
        if mode == "WRITE":
            yield state, "all"
            yield state, "part"
        elif self.clients == "flooding":
            yield state, "data"
        elif self.clients != "silent" or state.phase == RUNNING:
            if each.messages:
                yield self.with_connection(
                    state, c, messages=each.messages - 1), "data"
            yield state, "end of file"

    def post_packet(self, state, c, mode, result, by):
        """PostQueuedCompletionStatus, with what an operation's packet has."""
        self.owned(state, c, by)
        state = self.with_connection(state, c, owner="kernel")
        return state._replace(queue=state.queue + ((c, mode, result),))

    def complete(self, state, c, result):
        """The operation is over: its packet goes to the end of the queue."""
        mode = state.connections[c].pending
        state = self.with_connection(state, c, pending="")
        return state._replace(queue=state.queue + ((c, mode, result),))

    def client_steps(self, state):
        """What clients and the network do to what is outstanding."""
        if self.clients == "silent" and state.phase != RUNNING:
            return
        for c, each in enumerate(state.connections):
            if each.pending == "READ":
                if each.messages:
                    yield self.complete(self.with_connection(
                        state, c, messages=each.messages - 1), c, "data")
                yield self.complete(state, c, "end of file")
                yield self.complete(state, c, "failure")
            elif each.pending == "WRITE":
                yield self.complete(state, c, "all")
                yield self.complete(state, c, "part")
                yield self.complete(state, c, "failure")

    # -------------------------------- workers ------------------------------

    def worker_steps(self, state, w):
        doing = state.workers[w]
        if doing[0] == "waiting" and state.batches[w]:
            yield self.next_of_batch(state, w)
        elif doing[0] == "waiting" and state.queue:
            yield self.take(state, w)
        elif doing[0] == "holds":
            yield from self.handle(state, w, *doing[1:])
        elif doing[0] == "posts":
            _, c, mode = doing
            after = self.post(state, c, mode, w)
            if self.wrong == "touches after the post":
                yield self.with_worker(after, w, "touches", c)
            else:
                yield self.with_worker(after, w, "waiting")
            # It fails at once: no packet comes, the poster still owns it. Not
            # with clients that flood: there is always something to receive.
            self.owned(state, c, w)
            if self.clients != "flooding":
                yield self.with_worker(state, w, "closes", c)
            for done, result in self.at_once(state, c, mode):
                yield self.go_on(done, w, c, mode, result)
        elif doing[0] == "reposts":
            _, c, mode, result = doing
            yield self.with_worker(
                self.post_packet(state, c, mode, result, w), w, "waiting")
            # It fails, of memory for one packet: then there is no turn for
            # others, but an end to it.
            yield self.with_worker(state, w, "holds", c, mode, result)
        elif doing[0] == "touches":
            if state.connections[doing[1]].owner == "freed":
                raise Mistake("touched after it was freed")
            yield self.with_worker(state, w, "waiting")
        elif doing[0] == "closes" and self.lock_is_free(state):
            # registry_remove; then closesocket and free, which nobody else
            # can tell from one step: it is off the list.
            c = doing[1]
            self.owned(state, c, w)
            state = self.with_connection(state, c, owner="freed",
                                         listed=False, held=False)
            yield self.with_worker(state, w, "waiting")

    def go_on(self, state, w, c, mode, result):
        """The poster has the result itself, or gives it to the queue."""
        if self.wrong == "a packet comes all the same":
            state = state._replace(queue=state.queue + ((c, mode, result),))
        if self.wrong == "takes pending for done":
            state = self.with_connection(state, c, owner="kernel",
                                         pending=mode)
        if state.inline[w] == self.inline:
            return self.with_worker(self.with_inline(state, w, 0), w,
                                    "reposts", c, mode, result)
        state = self.with_inline(state, w, state.inline[w] + 1)
        return self.with_worker(state, w, "holds", c, mode, result)

    def take(self, state, w):
        """GetQueuedCompletionStatus(Ex) returns the oldest packets. Sentinels
        are looked at when all others are done with."""
        taken = state.queue[:self.batch]
        state = state._replace(queue=state.queue[self.batch:])
        for c, *_ in (packet for packet in taken if packet != "sentinel"):
            if state.connections[c].owner != "kernel":
                raise Mistake(f"a packet of #{c}, which belongs to "
                              f"{state.connections[c].owner}")
            state = self.with_connection(state, c, owner=w)
        return self.next_of_batch(self.with_batch(
            state, w, tuple(sorted(taken, key=lambda x: x == "sentinel"))), w)

    def next_of_batch(self, state, w):
        first, *rest = state.batches[w]
        if self.wrong == "forgets the rest of a batch":
            rest = []
        state = self.with_batch(state, w, tuple(rest))
        if first != "sentinel":
            return self.with_worker(self.with_inline(state, w, 0), w, "holds",
                                    *first)
        if rest and self.wrong != "keeps all sentinels":
            return state._replace(queue=state.queue + ("sentinel",))
        return self.with_worker(self.with_batch(state, w, ()), w, "ended")

    def handle(self, state, w, c, mode, result):
        """read_done, write_done and failed of worker.c."""
        self.owned(state, c, w)
        each = state.connections[c]
        if result in ("failure", "cancelled"):
            if result == "cancelled" and each.held and state.phase == DRAINING:
                raise Mistake("bytes received are dropped by the drain")
            if self.wrong == "ignores failed packets":
                yield self.with_worker(state, w, "waiting")
            elif (state.phase != RUNNING and mode == "READ"
                    and not each.discarding):
                yield from self.finish(state, w, c)
            else:
                yield self.with_worker(state, w, "closes", c)
        elif mode == "READ" and each.discarding:
            if result == "data" and self.wrong == "discards for ever":
                yield self.with_worker(state, w, "posts", c, "READ")
            elif result == "data":
                yield from self.discard(state, w, c)
            else:
                yield self.with_worker(state, w, "closes", c)
        elif mode == "READ" and result == "data":
            state = self.with_connection(state, c, held=True)
            if self.wrong == "receives while it sends":
                state = self.post(state, c, "WRITE", w)
                state = self.with_connection(state, c, owner=w)
                yield self.with_worker(state, w, "posts", c, "READ")
            else:
                yield self.with_worker(state, w, "posts", c, "WRITE")
        elif mode == "READ":
            yield self.with_worker(state, w, "closes", c)
        elif result == "part":
            yield self.with_worker(state, w, "posts", c, "WRITE")
        else:
            state = self.with_connection(state, c, held=False)
            # The phase may change between this look at it and the post.
            if state.phase != RUNNING:
                yield from self.finish(state, w, c)
            else:
                yield self.with_worker(state, w, "posts", c, "READ")

    def finish(self, state, w, c):
        """connection_finish: the end of file goes out, if there is still
        somebody there."""
        yield self.with_worker(state, w, "closes", c)
        yield from self.discard(state, w, c)

    def discard(self, state, w, c):
        """registry_discard, under the lock."""
        if not self.lock_is_free(state):
            return
        if state.phase == DRAINING:
            state = self.with_connection(state, c, discarding=True)
            yield self.with_worker(state, w, "posts", c, "READ")
        else:
            yield self.with_worker(state, w, "closes", c)

    # --------------------------------- main --------------------------------

    def main_steps(self, state):
        doing = state.main[0]
        if doing == "accepts":
            yield from self.accept(state)
        elif doing == "posts":
            c = state.main[1]
            yield self.post(state, c, "READ", "main")._replace(
                main=("accepts",))
            for done, result in self.at_once(state, c, "READ"):
                if self.wrong == "main drops what is done at once":
                    yield done._replace(main=("accepts",))
                else:
                    yield done._replace(main=("reposts", c, result))
        elif doing == "reposts":
            # Main is no worker: somebody else handles it.
            _, c, result = state.main
            yield self.post_packet(state, c, "READ", result, "main")._replace(
                main=("accepts",))
        elif doing == "drains":
            yield from self.drain(state)
        elif doing == "sweeps":
            yield self.sweep(state)
        elif doing == "sentinels":
            n = state.main[1] + 1
            after = ("drains",) if self.sentinels_first else ("joins",)
            yield state._replace(
                queue=state.queue + ("sentinel",),
                main=("sentinels", n) if n < len(state.workers) else after)
        elif doing == "joins":
            if all(each == ("ended",) for each in state.workers):
                yield state._replace(main=("ended",))

    @property
    def sentinels_first(self):
        return self.wrong == "sentinels before the drain"

    def accept(self, state):
        for c, each in enumerate(state.connections):
            if each.owner == "client" and state.phase == RUNNING:
                yield self.with_connection(
                    state, c, owner="main", listed=True)._replace(
                        main=("posts", c))
                break  # which of them comes first makes no difference
        if state.phase != RUNNING:
            first = ("sentinels", 0) if self.sentinels_first else ("drains",)
            yield state._replace(main=first)

    def drain(self, state):
        if self.live(state) == 0:
            yield state._replace(
                main=("joins",) if self.sentinels_first else ("sentinels", 0))
            return
        if state.phase == DRAINING:
            yield state._replace(phase=CUTTING)  # the time is over
        if self.wrong == "sweeps once" and state.main[1:] == ("again",):
            return
        yield state._replace(main=("sweeps", 0))

    def sweep(self, state):
        """One CancelIoEx of a sweep, which holds the lock from its first to
        its last. Workers post meanwhile: posts need no lock."""
        c = state.main[1]
        each = state.connections[c]
        after = ("sweeps", c + 1)
        if c + 1 == len(state.connections):
            after = ("drains", "again") if self.wrong == "sweeps once" else (
                "drains",)
        if not each.listed:
            return state._replace(main=after)
        if each.owner == "freed":
            raise Mistake("the sweep uses a socket that is closed")
        everything = state.phase == CUTTING
        if self.wrong == "one OVERLAPPED" and not everything:
            # It looks whether a READ is pending, and then cancels what is.
            if state.main[2:] != ("decided",):
                return state._replace(
                    main=("sweeps", c, "decided") if each.pending == "READ"
                    else after)
            everything = True
        if each.pending == "READ" or each.pending and everything:
            # A discarding READ too, when nothing came for a while.
            state = self.complete(state, c, "cancelled")
        return state._replace(main=after)

    # --------------------------------- steps -------------------------------

    def steps(self, state):
        """Every state that one step leads to."""
        if state.phase == RUNNING:
            yield state._replace(phase=DRAINING)  # Ctrl+C
        yield from self.main_steps(state)
        for w in range(len(state.workers)):
            yield from self.worker_steps(state, w)
        yield from self.client_steps(state)


def check(model):
    """Visits every state. Returns how many there are; raises Mistake."""
    before = {model.start: []}  # state -> those that lead to it
    todo = collections.deque([model.start])
    ends = []
    while todo:
        state = todo.popleft()
        if state.main == ("ended",):
            ends.append(state)
            if state.queue:
                raise Mistake(f"left in the queue: {state.queue}")
            if any(each.owner not in ("freed", "client")
                   for each in state.connections):
                raise Mistake(f"a connection is left: {state.connections}")
            continue
        for after in model.steps(state):
            if after not in before:
                before[after] = []
                todo.append(after)
            before[after].append(state)
    # From every state the end has to be in reach: go back from the ends.
    reaching = set(ends)
    todo = collections.deque(ends)
    while todo:
        for state in before[todo.popleft()]:
            if state not in reaching:
                reaching.add(state)
                todo.append(state)
    stuck = [state for state in before if state not in reaching]
    if stuck:
        raise Mistake(f"no way to the end from {len(stuck)} states, such as "
                      f"{stuck[0]}")
    return len(before)


def thorough(*sizes):
    """Two connections have many more orders than one."""
    return pytest.param(*sizes, marks=pytest.mark.thorough)


@pytest.mark.parametrize("clients", ["any", "silent", "flooding"])
@pytest.mark.parametrize("connections, workers, inline, batch", [
    (1, 1, 0, 1), (1, 2, 0, 1), thorough(2, 2, 0, 1),
    (1, 1, 1, 1), (1, 2, 2, 1), thorough(2, 2, 1, 1),
    (1, 3, 0, 3), thorough(2, 2, 0, 2), (1, 2, 2, 2), thorough(2, 2, 1, 2)])
def test_no_order_of_events_breaks_it(clients, connections, workers, inline,
                                      batch):
    states = check(Model(connections, workers, clients, "", inline, batch))
    assert states > 50


@pytest.mark.thorough
@pytest.mark.parametrize("wrong, clients, found, inline, batch", [
    ("touches after the post", "any", "touched after it was freed", 0, 1),
    ("receives while it sends", "any", "belongs to", 0, 1),
    ("ignores failed packets", "any", "no way to the end", 0, 1),
    ("sentinels before the drain", "any", "no way to the end|left in the",
     0, 1),
    ("sweeps once", "silent", "no way to the end", 0, 1),
    ("one OVERLAPPED", "any", "bytes received are dropped", 0, 1),
    ("discards for ever", "flooding", "no way to the end", 0, 1),
    ("touches after the post", "any", "touched after it was freed", 1, 2),
    ("takes pending for done", "any", "belongs to", 1, 1),
    ("a packet comes all the same", "any", "belongs to", 1, 1),
    ("main drops what is done at once", "any", "no way to the end", 1, 1),
    ("forgets the rest of a batch", "any", "no way to the end", 0, 2),
    ("keeps all sentinels", "any", "no way to the end", 0, 2),
])
def test_the_search_finds_mistakes(wrong, clients, found, inline, batch):
    with pytest.raises(Mistake, match=found):
        check(Model(2, 2, clients, wrong, inline, batch))
