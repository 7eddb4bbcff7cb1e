"""What lives there are on the simulated Windows.

of_seed chooses one: options, clients, the user, liberties, calls that fail. A
life is a text, in lines that packed() turns into what world.h explains:

    life NAME
    options WORD...                what the server is started with
    set NAME NUMBER...             what differs from DEFAULTS
    client NAME NUMBER...          one for each
    changes STEP...                where the priority of who runs is lowered
    may LIBERTY...                 what Windows permits and does
    fault CALL FIRST EVERY CODE    which calls fail, with which of its codes
    hold THREAD CALL N THREAD CALL N    see world.h; for scripted lives,
    press THREAD CALL N                 which have no order

The same seed means the same life with each Python.
"""

import pathlib
import random
import re
import struct

HERE = pathlib.Path(__file__).resolve().parent
MS = 1000  # times are in microseconds
NEVER = 0xffffffff


HEADERS = "".join((HERE / name).read_text(encoding="ascii")
                  for name in ("world.h", "calls.h"))


def names(macro, more=""):
    """Returns the names that a macro lists as X(NAME...)."""
    body = re.search(rf"#define {macro}\(X\)((?:[^\n]*\\\n)*[^\n]*)",
                     HEADERS)[1]
    return re.findall(r"X\((\w+)" + more, body)


def limit(name):
    return int(re.search(rf"#define {name} +(\d+)", HEADERS)[1])


LIBERTIES = names("LIBERTIES")
WORDS = names("SCENARIO_WORDS")
CLIENT_WORDS = names("CLIENT_WORDS")
CALLS = names("CALLS")
FAILING = names("CALLS", ", [1-9]")
MAX_CLIENTS, MAX_FAULTS, MAX_HOLDS, MAX_CHANGES = map(limit, (
    "MAX_CLIENTS", "MAX_FAULTS", "MAX_HOLDS", "MAX_CHANGES"))

DEFAULTS = dict.fromkeys(WORDS, 0)
DEFAULTS.update(cpus=2, concurrency=2, drain=5, lent=64, presses=1, stay=50,
                third=3200 * MS)
CLIENT_DEFAULTS = dict.fromkeys(CLIENT_WORDS, 0)
CLIENT_DEFAULTS.update(total=100, chunk=100, window=NEVER, room=8192,
                       stopsReading=NEVER, resetsAt=NEVER)

WORK = ["1", "5:spin", "20:sleep", "2:spin"]
# Command lines with which the server only prints, or that it refuses; each
# with its status.
WRONG = [("--help", 0), ("-V", 0), ("-q -h", 0), ("--workers 0", 2),
         ("--workers 1x", 2), ("-w", 2), ("--bind nonsense", 2),
         ("--bind=", 2), ("--bind 224.0.0.1", 2), ("--bind ff02::1", 2),
         ("--bind 255.255.255.255", 2), ("--work 3:run", 2), ("--trace=", 2),
         ("--nothing", 2), ("-v=1", 2), ("--verbose=1", 2), ("9191", 2),
         ("70000", 2), ("--buffer=1", 2)]
CTRL_C, CTRL_BREAK, CLOSE = range(3)


class Chooser:
    """Chooses by a seed. random() is what Python promises not to change."""

    def __init__(self, seed):
        self.random = random.Random(seed).random

    def roll(self, sides):
        return int(self.random() * sides)

    def one_in(self, sides):
        return self.random() * sides < 1

    def among(self, *values):
        return values[int(self.random() * len(values))]


class Options(list):
    """The server's command line."""

    def __init__(self, chooser):
        super().__init__()
        self.chooser = chooser

    def choose(self, name, one_in, preset, *values):
        """Adds an option one time in `one_in`. Returns what then counts."""
        if not self.chooser.one_in(one_in):
            return preset
        self.append(name)
        if not values:
            return True
        self.append(str(self.chooser.among(*values)))
        return int(self[-1])


def choose_options(chooser, settings):
    options = Options(chooser)
    choose = options.choose
    cpus = 1 + chooser.roll(4)
    wrong = chooser.one_in(50)
    if not wrong:
        options.append(chooser.among("0", *["9190"] * 7))
    choose("--workers", 3, cpus, 1, 2, 3, 4)
    concurrency = choose("--concurrency", 4, cpus, 1, 2, 3)
    choose("--batch", 3, 1, 2, 3, 16, 256)
    choose("--inline", 3, 0, 1, 2, 7, 1000)
    choose("--post", 8, 0, 1, 2, 5)
    limit = choose("--max-connections", 4, 0, 1, 2, 3)
    idle = choose("--idle-timeout", 4, 0, 1, 2, 3)
    drain = choose("--drain-timeout", 2, 5, 0, 1, 2, 3)
    choose("--buffer", 2 if idle else 4, 0,
           4096, 5000, 16384, 1048576, 1048576)
    lent = choose("--buffer-total", 3, 64, 0, 1, 2)
    choose("--zero-byte-recv", 3, False)
    trace = choose("--trace=file", 4, False)
    if chooser.one_in(12):
        options += ["--work", chooser.among(*WORK)]
    if not choose("-v", 5, False) and not trace:
        settings["quiet"] = choose("-q", 40, False)
    if choose("--bind", 12, False):
        options.append(chooser.among("127.0.0.1", "::1"))
    else:
        settings["noIpv6"] = chooser.one_in(6)
    settings.update(cpus=cpus, concurrency=concurrency, limit=limit, idle=idle,
                    drain=drain, lent=lent, wrong=wrong, expected=2 * wrong)
    if not wrong and chooser.one_in(50):
        words, status = chooser.among(*WRONG)
        options += words.split()
        settings.update(wrong=True, expected=status)
    return options, trace


# -------------------------------- clients -----------------------------------


def ping_pong(chooser, client):
    client.update(window=client["chunk"], slow=chooser.one_in(4))


def stream(chooser, client):
    chunk = chooser.among(3000, 20000, 65536, 200000)
    client.update(chunk=chunk, total=chunk * (1 + chooser.roll(6)))


def burst(chooser, client):
    chunk = chooser.among(1, 10000, 50000)
    client.update(chunk=chunk, total=chunk * (1 + chooser.roll(3)),
                  halfCloses=True)


def reset(chooser, client):
    client["total"] += 2
    client["resetsAt"] = chooser.roll(client["total"])


def stops_reading(chooser, client):
    total = 20000 * (1 + chooser.roll(20))
    client.update(chunk=chooser.among(20000, 100000), total=total,
                  stopsReading=chooser.among(0, chooser.roll(total)))


def slow(chooser, client):
    client["slow"] = True


def comes_and_goes(chooser, client):
    total = chooser.roll(2)
    client.update(total=total, chunk=total, halfCloses=chooser.one_in(2))


def never_stops(chooser, client):
    client.update(neverStops=True, floods=chooser.one_in(2),
                  chunk=chooser.among(1000, 10000))
    if chooser.one_in(2):
        client["stopsReading"] = chooser.roll(30000)


def silent(chooser, client):
    client.update(staysSilent=True, slow=chooser.one_in(4))


KINDS = [ping_pong, stream, burst, reset, stops_reading, slow, comes_and_goes,
         never_stops, silent, silent]


def choose_client(chooser, trace):
    chunk = chooser.among(1, 100, 4096, 5000)
    client = {"room": chooser.among(1000, 8192, 20000, 70000, 100000),
              "chunk": chunk, "total": chunk * chooser.roll(8)}
    if chooser.one_in(3):
        client["wakeAt"] = chooser.roll(2000) * MS
    chooser.among(*KINDS)(chooser, client)
    # Limit the steps, so that a life takes a millisecond or two.
    client["total"] = min(client["total"], 400000, 24 * client["room"])
    client["chunk"] = max(client["chunk"], 1)
    if client.get("neverStops"):
        client["chunk"] = min(client["chunk"], client["room"])
    if trace:
        client["floods"] = False
    return client


# ------------------------- the user, and the order --------------------------


def choose_user(chooser, settings, faults):
    event = (CLOSE if chooser.one_in(8) else
             CTRL_BREAK if chooser.one_in(4) else CTRL_C)
    presses = 1 + chooser.roll(3) if chooser.one_in(3) else 1
    blocks = (chooser.one_in(25) and not settings["wrong"]
              and event != CLOSE)
    if event == CLOSE:
        presses = 1
    if blocks:
        presses = 3
    console = chooser.one_in(3) or presses == 3
    settings.update(
        event=event, presses=presses, blocksForEver=blocks,
        early=blocks or chooser.one_in(2 if faults else 3),
        pressStep=chooser.roll(chooser.among(100, 150, 300, 3000)),
        patience=chooser.among(0, (chooser.roll(4000)
                                   + settings["idle"] * 3000) * MS),
        second=chooser.roll(2000) * MS, third=(3100 + chooser.roll(1000)) * MS,
        resumes=chooser.one_in(2),  # with the third Ctrl+C
        hasConsole=console, quickEdit=console and not chooser.one_in(3))


def choose_order(chooser, settings):
    may = [name for name in LIBERTIES if not chooser.one_in(4)]
    if chooser.one_in(5):  # nothing is late, and the checks need no slack
        may = [name for name in may if name != "freeze"]
    settings.update(
        order=1 + chooser.roll(1 << 50), priorities=chooser.one_in(2),
        eager=chooser.one_in(5), stay=chooser.among(0, 50, 90),
        blocks=chooser.among(0, 4, 40, 400),
        bootedAt=chooser.among(0xffffffff - chooser.roll(20000),
                               chooser.roll(1000000)))
    latest = chooser.among(100, 500, 3000)
    return may, [str(1 + chooser.roll(latest)) for _ in range(MAX_CHANGES)]


def choose_fault(chooser, call):
    return (f"fault {call} {1 + chooser.roll(chooser.among(1, 4, 40))} "
            f"{chooser.among(0, 1 + chooser.roll(3))} {chooser.roll(3)}")


def pairs(values):
    return " ".join(f"{name} {int(value)}" for name, value in values.items())


def of_seed(seed, faults=False):
    """Returns the lines of the life that the seed means."""
    chooser = Chooser(2 * seed + faults)
    settings = {}
    options, trace = choose_options(chooser, settings)
    count = 1 + chooser.roll(MAX_CLIENTS if chooser.one_in(8) else 5)
    clients = [choose_client(chooser, trace) for _ in range(count)]
    choose_user(chooser, settings, faults)
    settings["early"] |= any(client.get("neverStops") for client in clients)
    may, changes = choose_order(chooser, settings)
    failing = [chooser.among(*FAILING) for _ in range(
        1 + chooser.roll(MAX_FAULTS))] if faults else []
    if failing and chooser.one_in(4):  # it fails while the server listens
        failing[0] = "_beginthreadex"
    return [f"life seed {seed}", "options " + " ".join(options),
            "set " + pairs(settings),
            *("client " + pairs(client) for client in clients),
            "changes " + " ".join(changes),
            *(choose_fault(chooser, call) for call in failing),
            "may " + " ".join(may)]


def of_lesson(count, turns, pause, gap, *options):
    """Returns the life of a lesson (scripts/demo.py): `count` clients send
    `turns` messages each, one every `pause` ms, and begin `gap` ms one after
    the other. Nothing is left to chance, and no liberty is taken. Threads and
    clients act in turn."""
    words = list(map(str, options))
    settings = {"inTurn": True, "patience": 2 * pause * MS,
                "transit": 1 * MS}  # then the worker of an echo waits again
    if "--concurrency" in words:
        settings["concurrency"] = words[words.index("--concurrency") + 1]
    return ["life lesson", "options 9190 " + " ".join(words),
            "set " + pairs(settings),
            *(f"client total {9 * turns} chunk 9 window 9 pause {pause * MS} "
              f"wakeAt {gap * number * MS}" for number in range(count))]


# -------------------------------- packing -----------------------------------


def numbers(defaults, words):
    """Returns the values of all names, of which `words` has pairs."""
    values = dict(defaults)
    values.update(zip(words[::2], map(int, words[1::2])))
    if len(values) != len(defaults):
        raise ValueError(f"no such word in a life: {words}")
    return values


def place(who, call, nth):
    number = re.search(r"\d*$", who)[0]
    who = 0 if who == "main" else int(number or ord(who[0]))
    return [who, CALLS.index(call), int(nth), 0]


def packed(life, story=False):
    """Returns the bytes of a SCENARIO, which world.h declares."""
    name, options, words, changes, press = "", "", [], [], []
    clients, faults, holds, may = [], [], [], 0
    for line in life:
        kind, _, rest = line.partition(" ")
        of_line = rest.split()
        if kind == "life":
            name = rest
        elif kind == "options":
            options = rest
        elif kind == "set":
            words += of_line
        elif kind == "client":
            clients.append(numbers(CLIENT_DEFAULTS, of_line))
        elif kind == "changes":
            changes = list(map(int, of_line))
        elif kind == "may":
            may = sum(1 << LIBERTIES.index(word) for word in of_line)
        elif kind == "fault":
            faults += [CALLS.index(of_line[0]), *map(int, of_line[1:])]
        elif kind == "hold":
            holds += place(*of_line[:3]) + place(*of_line[3:])
        elif kind == "press":
            press = place(*of_line)
        else:
            raise ValueError(f"no such line in a life: {line}")
    values = numbers(DEFAULTS, words)
    values.update(liberties=may, clients=len(clients), story=int(story))
    parts = [(values.values(), len(WORDS)), (changes, MAX_CHANGES),
             (faults, 4 * MAX_FAULTS), (holds, 8 * MAX_HOLDS), (press, 4),
             ([value for client in clients for value in client.values()],
              len(CLIENT_WORDS) * MAX_CLIENTS)]
    every = [value for part, size in parts
             for value in [*part, *[0] * (size - len(part))]]
    return struct.pack(f"80s400s{len(every)}Q", name.encode(),
                       options.encode(), *every)
