"""Pages and a stream of messages for browsers (HTTP, Server-Sent Events).

Whoever has a message calls publish() and never waits. Each watcher has a
queue; one that is full, because its browser does not read, is dropped. The
browser connects again and begins with what is then. Nothing is read from a
browser but its request.
"""

import http.server
import os
import queue
import socketserver
import sys
import threading
import time

MAX_WATCHERS = 64      # they get each message
MAX_CONNECTIONS = 128  # more are closed at once
MAX_QUEUED = 200       # messages for a browser that does not read
IO_TIMEOUT = 10        # seconds a browser may need for a request or a message
TAKE_TIMEOUT = 5       # seconds to fetch the last page

HTML = "text/html; charset=utf-8"
EVENTS = "/events"
LAST = "/run.html"


class Watcher:
    """A browser that gets each message; `messages` ends with None."""

    def __init__(self, first):
        self.messages = queue.Queue(MAX_QUEUED)
        self.messages.put(first)
        self.dropped = False

    def push(self, message):
        try:
            self.messages.put_nowait(message)
        except queue.Full:
            self.dropped = True


class Handler(http.server.BaseHTTPRequestHandler):
    timeout = IO_TIMEOUT

    def do_GET(self):  # noqa: N802  (http.server's name)
        path = self.path.partition("?")[0]
        page = self.server.pages.get(path)
        if not self.is_own_host():
            self.refuse(403, "this page has another address")
        elif path == EVENTS:
            self.watch()
        elif page is None:
            self.refuse(404, "there is no such page")
        else:
            self.give(200, HTML, page)
            self.server.was_given(path)

    def is_own_host(self):
        """Whether the browser asks for this server by its address. A page of
        another site can give its own name our address (DNS rebinding), but
        the browser still asks by that name."""
        address, port = self.connection.getsockname()[:2]
        address = address.replace("::ffff:", "")
        names = {f"[{address}]" if ":" in address else address}
        if address in ("127.0.0.1", "::1"):
            names.add("localhost")
        own = {f"{name}:{port}" for name in names}
        return self.headers.get("Host", "").lower() in (
            own | names if port == 80 else own)

    def refuse(self, status, text):
        self.give(status, "text/plain", f"{text}\n".encode("ascii"))

    def begin(self, status, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")

    def give(self, status, kind, body):
        self.begin(status, kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def watch(self):
        watcher = self.server.admit()
        if watcher is None:
            self.refuse(503, f"{MAX_WATCHERS} browsers watch already")
            return
        try:
            self.begin(200, "text/event-stream")
            self.end_headers()
            while not watcher.dropped:
                try:
                    message = watcher.messages.get(timeout=IO_TIMEOUT)
                except queue.Empty:
                    message = b":\n\n"  # finds out whether it is still there
                if message is None:
                    break
                self.wfile.write(message)
        finally:
            self.server.dismiss(watcher)

    def log_message(self, *_):
        """Says nothing: the console is the server's."""


class Watchers(http.server.ThreadingHTTPServer):
    """`beginning` returns the first message for a new watcher. Whoever
    changes what it returns holds the lock."""

    daemon_threads, block_on_close = True, False
    allow_reuse_address = os.name != "nt"  # there two could share the port
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address, beginning):
        self.pages, self.watchers, self.given = {}, set(), 0
        self.beginning = beginning
        self.lock = threading.RLock()
        self.places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        if ":" in address[0]:
            self.address_family = http.server.socket.AF_INET6
        super().__init__(address, Handler)

    def server_bind(self):  # HTTPServer's would ask for the host's name
        socketserver.TCPServer.server_bind(self)

    def start(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def process_request(self, request, client_address):
        if self.places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.places.release()

    def handle_error(self, request, client_address):
        """A browser that has gone is no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    # ------------------------------ messages -------------------------------

    def admit(self):
        """Returns a new watcher, or None if there are enough."""
        with self.lock:
            if len(self.watchers) >= MAX_WATCHERS:
                return None
            watcher = Watcher(self.beginning())
            self.watchers.add(watcher)
            return watcher

    def dismiss(self, watcher):
        with self.lock:
            self.watchers.discard(watcher)

    def publish(self, message):
        with self.lock:
            for watcher in self.watchers:
                watcher.push(message)

    def was_given(self, path):
        with self.lock:
            self.given += path == LAST

    def end(self, page, message):
        """Sends the last message; after it LAST is `page`, if there is one.
        Returns when the watchers have fetched that, or do not."""
        end = time.monotonic() + TAKE_TIMEOUT
        with self.lock:
            if page:
                self.pages[LAST] = self.pages["/"] = page
            wanted = sum(not each.dropped for each in self.watchers)
            self.publish(message)
            self.publish(None)
        while page and self.given < wanted and time.monotonic() < end:
            time.sleep(0.02)
