"""A server process: start it, wait until it is ready, read and parse what it
prints, stop it."""

import re
import signal
import subprocess
import time

import launch
from parts import program
from parts.language import fill, say
from parts.words import Failure, reason

MAX_LOG = 1 << 20   # bytes; no server of ours prints more before it is ready
MAX_SHOWN = 200     # characters shown of a line it has printed
PAUSE = 0.02        # seconds between two looks at a file

# Servers print ASCII. If one prints something else, show it escaped instead
# of failing to decode it.
TEXT = {"encoding": "utf-8", "errors": "backslashreplace"}

# Windows sends Ctrl+C to a whole console, but Ctrl+Break, which the server
# treats alike, can go to one group. Wine turns SIGINT into Ctrl+C.
STOP_SIGNAL = signal.CTRL_BREAK_EVENT if launch.WINDOWS else signal.SIGINT
OWN_GROUP = ({"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
             if launch.WINDOWS else {"start_new_session": True})


def fields(line):
    """Returns the key=value pairs of a line."""
    return dict(re.findall(r"(\S+?)=(\S+)", line))


def read(path):
    """Returns what servers have printed to a file."""
    return path.read_text(encoding="utf-8", errors="backslashreplace")


class Server:
    """A server that prints to a file. A pipe would have to be read meanwhile,
    and Wine's services, which inherit the first program's output, would keep
    it open."""

    start_timeout = 60  # seconds: Wine's first program boots Wine
    stop_timeout = 15
    # How a message about it begins.
    name = {"en": "the server ", "ko": "서버가 "}

    def __init__(self, line, log, **options):
        """`options` go to subprocess.Popen."""
        self.line, self.log = line, log
        self.options = {"stdin": subprocess.DEVNULL,
                        "env": launch.environment(), **options}
        self.process = self.port = self.ready = None

    # ------------------------------- starting ------------------------------

    def start(self):
        """Returns when it is ready. Raises Failure with the reason if it is
        not. Tries again if Wine gave up before it ran the program."""
        for _ in range(launch.START_TRIES):
            try:
                with program.interrupts.later():
                    self.open()
            except OSError as error:
                raise self.failure({
                    "en": "{name}could not be started: {reason}",
                    "ko": "{name}실행되지 못했습니다: {reason}",
                }, reason=reason(error)) from None
            status = self.wait_until_ready()
            if status is None:
                return
            if not launch.never_started(status, self.text()):
                break
        raise self.failure({
            "en": "{name}did not start: {said}",
            "ko": "{name}시작하지 못했습니다: {said}",
        }, said=self.last_line() or fill({
            "en": "no message, exit status {status}",
            "ko": "메시지 없이 끝났습니다(상태 {status})"},
            status=status))

    def failure(self, text, /, **values):
        return Failure(say(text, name=self.name, **values))

    def open(self):
        """Starts the process."""
        with open(self.log, "wb") as output:
            self.process = self.start_process(
                self.line, stdout=output, stderr=subprocess.STDOUT,
                **self.options)

    def start_process(self, line, **options):
        return subprocess.Popen(line, **OWN_GROUP, **options)

    def wait_until_ready(self):
        """Returns None, or the status if it has ended instead."""
        end = time.monotonic() + self.start_timeout
        while True:
            status = self.process.poll()
            if self.is_ready():
                return None
            if status is not None:
                return status
            if time.monotonic() > end:
                raise self.failure({
                    "en": "{name}is not ready after {seconds} seconds",
                    "ko": "{name}{seconds}초가 지나도 준비되지 않았습니다",
                }, seconds=self.start_timeout)
            time.sleep(PAUSE)

    def is_ready(self):
        """Whether its ready line is there; sets the port."""
        found = self.printed("ready ")
        if found:
            self.read_ready(found[0])
        elif len(self.text()) > MAX_LOG:
            raise self.failure({
                "en": "{name}prints on and on, and no ready line",
                "ko": "{name}계속 출력하지만 ready 줄이 없습니다"})
        return bool(found)

    def read_ready(self, line):
        self.ready = fields(line)
        port = re.fullmatch("[0-9]{1,5}", self.ready.get("port", ""))
        if port is None or not 0 < int(port[0]) < 65536:
            raise self.failure({
                "en": "no port in the ready line: {line}",
                "ko": "ready 줄에 포트가 없습니다: {line}",
            }, line=line[:MAX_SHOWN])
        self.port = int(port[0])

    # -------------------------------- output -------------------------------

    def text(self):
        return read(self.log)

    def printed(self, beginning=""):
        """Returns the complete lines so far that begin like this."""
        return [line for line in self.text().split("\n")[:-1]
                if line.startswith(beginning)]

    def last_line(self):
        """Returns the last line that is not blank, or ''."""
        lines = [line for line in self.text().split("\n") if line.strip()]
        return lines[-1].strip()[:MAX_SHOWN] if lines else ""

    # ------------------------------- stopping ------------------------------

    def signal_stop(self):
        """Presses Ctrl+C (on Windows Ctrl+Break), and returns at once."""
        try:
            self.process.send_signal(STOP_SIGNAL)
        except OSError as error:
            raise self.failure({
                "en": "{name}can't be sent Ctrl+C: {reason}",
                "ko": "{name}Ctrl+C를 받지 못했습니다: {reason}",
            }, reason=reason(error)) from None

    def wait_end(self, timeout=None):
        """Returns the exit status. Raises Failure if it does not end."""
        timeout = timeout or self.stop_timeout
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self.failure({
                "en": "{name}still runs {seconds} seconds after Ctrl+C",
                "ko": "{name}Ctrl+C를 누르고 {seconds}초가 지나도 끝나지 "
                      "않았습니다",
            }, seconds=timeout) from None

    def stop(self, timeout=None):
        """Presses Ctrl+C and waits. Raises Failure if it does not end well."""
        self.signal_stop()
        status = self.wait_end(timeout)
        if status != 0:
            raise self.failure({
                "en": "{name}ended with status {status}: {said}",
                "ko": "{name}제대로 끝나지 않았습니다(상태 {status}): {said}",
            }, status=status, said=self.last_line())

    def kill(self):
        """Ends it at once, if it was started."""
        if self.process is not None:
            launch.end(self.process)
