"""Opens pages in a headless Chromium, acts like a user, reads the result."""

import base64
import html
import json
import os
import re
import select
import shutil
import signal
import subprocess

import pytest

from support import IO_TIMEOUT, WINDOWS

BROWSER_TIMEOUT = 90  # seconds: its first start is slow

BROWSER = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, (
    "chromium", "chromium-browser", "google-chrome", "chrome"))), None)
in_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium: install it, or name it in CHROMIUM")

in_window = pytest.mark.skipif(  # see Window
    BROWSER is None or WINDOWS, reason="no Chromium with two pipes")

# From the smallest projector to a common screen.
SIZES = ["1024,768", "1280,800", "1440,900", "1920,1080"]
# The most cramped of them, for tests that try one size only.
MARKED_SIZES = [SIZES[0], *(pytest.param(size, marks=pytest.mark.thorough)
                            for size in SIZES[1:])]

# Runs before the page's script: collects the browser's complaints.
WATCH = """<script>
window.complaints = [];
addEventListener("error", e => complaints.push(String(e.message)));
addEventListener("unhandledrejection", e => complaints.push(String(e.reason)));
document.addEventListener("securitypolicyviolation",
                          e => complaints.push("policy: " + e.blockedURI));
console.error = console.warn = (...words) => complaints.push(words.join(" "));
Element.prototype.setPointerCapture = () => {};  // for made-up pointers
</script>"""

# Runs after it: acts like a user. The test's own lines come last.
HANDS = """<script>
const see = id => document.querySelector(id).textContent.trim();
const press = id => document.querySelector(id).click();
const all = selector => [...document.querySelectorAll(selector)];
const texts = selector => all(selector).map(node => node.textContent);
const type = (key, on = document.body, more = {}) => on.dispatchEvent(
  new KeyboardEvent("keydown",
                    {key, bubbles: true, cancelable: true, ...more}));
const wait = ms => new Promise(done => setTimeout(done, ms));
const point = (kind, on, x, y) => on.dispatchEvent(new PointerEvent(kind,
  {clientX: x, clientY: y, button: 0, pointerId: 1, bubbles: true}));
const middle = on => { const box = on.getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2]; };
/* What is wrong with where things are: how far the page scrolls sideways, text
 * that lies on other text, text beside the window or its picture. */
const flaws = () => {
  const found = [], walker = document.createTreeWalker(document.body,
                                                       NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const range = document.createRange(), text = node.textContent.trim();
    const frame = node.parentElement.closest("svg, body")
      .getBoundingClientRect();
    range.selectNodeContents(node);
    for (const box of text ? range.getClientRects() : [])
      if (box.width > 1 && box.height > 1) found.push({text, box, frame});
  }
  const on = (a, b) =>
      Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4;
  return {
    wider: document.documentElement.scrollWidth
      - document.documentElement.clientWidth,
    overlapping: found.flatMap((one, i) => found.slice(0, i)
      .filter(other => on(one.box, other.box))
      .map(other => [other.text, one.text])),
    outside: found.filter(({box, frame}) => box.left < frame.left
      || box.right > Math.min(frame.right, innerWidth)).map(({text}) => text)};
};
/* Where there is no Korean font, its letters are to be as wide as in one. */
{
  const canvas = document.createElement("canvas").getContext("2d");
  canvas.font = "100px sans-serif";
  const missing = (95 - canvas.measureText("\uac00").width) / 100;
  if (missing > 0.1) document.head.insertAdjacentHTML("beforeend",
    `<style>html[lang=ko] { letter-spacing: ${missing}em; }
     svg { letter-spacing: 0; }</style>`);
}
(async () => {
  const seen = {};
  try { %s } catch (error) { complaints.push("test: " + error); }
  seen.complaints = complaints;
  const node = document.createElement("pre");
  node.id = "seen";
  node.textContent = JSON.stringify(seen);
  document.body.append(node);
})();
</script>"""


def use(page, actions, address="#lang=en", size="1280,720"):
    """Loads the page, runs `actions` (JavaScript that fills `seen`) and
    returns `seen`."""
    text = page.read_text(encoding="utf-8")
    text = text.replace("style-src", "script-src 'unsafe-inline'; style-src")
    text = text.replace("<title>", WATCH + "<title>")
    copy = page.with_name("watched.html")
    copy.write_text(text.replace("</body>", HANDS % actions + "</body>"),
                    encoding="utf-8")
    dom = browse(page.parent / "profile", copy.as_uri() + address, size)
    found = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.S)
    assert found, "the page did not get through its script"
    seen = json.loads(html.unescape(found[1]))
    assert seen.pop("complaints") == []
    return seen


def check_layout(page, size):
    """Checks that nothing scrolls sideways, and that no text overlaps another
    or is cut off. Tries the viewer's page in both languages and scales, and at
    several places."""
    seen = use(page, """
      seen.looks = [flaws()];
      for (const button of ["in", "later", "later", "language", "earlier",
                            "in", "later", "all", "true"])
        if (document.getElementById(button)) {
          press("#" + button);
          seen.looks.push(flaws());
        }
    """, size=size)
    for problems in seen["looks"]:
        assert problems == {"wider": 0, "overlapping": [],
                            "outside": []}, problems


def command(profile, size, *more):
    """Returns the command line of a browser that shows no window."""
    return [BROWSER, "--headless", "--no-sandbox", "--disable-gpu",
            "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update",
            f"--user-data-dir={profile}", f"--window-size={size}", *more]


def browse(profile, address, size):
    """Returns the page as it is after some seconds of the browser's clock."""
    process = subprocess.Popen(
        command(profile, size, "--virtual-time-budget=15000", "--dump-dom",
                address),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        out, _ = process.communicate(timeout=BROWSER_TIMEOUT)
    finally:
        end_group(process)
    return out.decode("utf-8")


class Window:
    """A browser's window on a page that changes by itself: time is real here.
    It is driven through two pipes, by Chromium's DevTools protocol."""

    def __init__(self, profile, size="1280,720"):
        to_browser, self.to = os.pipe()
        self.fro, from_browser = os.pipe()
        self.number, self.rest = 0, b""
        self.process = subprocess.Popen(
            command(profile, size, "--remote-debugging-pipe", "about:blank"),
            # It reads from 3 and writes to 4.
            preexec_fn=lambda: (os.dup2(to_browser, 103),
                                os.dup2(from_browser, 104),
                                os.dup2(103, 3), os.dup2(104, 4)),
            close_fds=False, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        target = self.ask("Target.createTarget", url="about:blank")
        self.session = self.ask("Target.attachToTarget", flatten=True,
                                targetId=target["targetId"])["sessionId"]
        self.resize(size)

    session = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end_group(self.process)
        os.close(self.to)
        os.close(self.fro)

    def ask(self, method, **params):
        """Sends a command. Returns its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def receive(self):
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.fro], [], [], BROWSER_TIMEOUT)
            data = os.read(self.fro, 1 << 20) if ready else b""
            assert data, "the browser does not answer"
            self.rest += data
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def resize(self, size):
        width, height = map(int, size.split(","))
        self.ask("Emulation.setDeviceMetricsOverride", width=width,
                 height=height, deviceScaleFactor=1, mobile=False)

    def open(self, address):
        """Loads the page, with the helpers of HANDS, collecting the browser's
        complaints."""
        self.ask("Page.enable")
        watch, hands = (re.sub(r"</?script>", "", part) for part in
                        (WATCH, HANDS.partition("/* Where there")[0]))
        for source in (watch, hands):
            self.ask("Page.addScriptToEvaluateOnNewDocument", source=source)
        self.ask("Page.navigate", url=address)
        assert self.wait_for("document.readyState === 'complete'")

    def get(self, expression):
        """Returns the value of this JavaScript, when a promise is kept."""
        answer = self.ask("Runtime.evaluate", expression=expression,
                          awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, condition, seconds=IO_TIMEOUT):
        """Returns whether this becomes true in time."""
        return self.get(f"""new Promise(done => {{
          const end = performance.now() + {1000 * seconds};
          const look = () => {{
            let is = false;
            try {{ is = Boolean({condition}); }} catch (error) {{ }}
            if (is || performance.now() > end) done(is);
            else setTimeout(look, 20);
          }};
          look();
        }})""")

    def picture(self, path):
        shot = self.ask("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))


def end_group(process):
    """Kills the group: a browser has many processes."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.kill()
    process.wait(10)
