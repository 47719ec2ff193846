"""Opens pages in a headless Chromium as wide as a telephone, a tablet and a desk, and names what is wrong with them.

In: HTML files, and folders of them. Out: a line a page with its faults: an error in the console, a request to another
host, a part that is wider than the window or cut off (what scrolls in a box of its own is not), a short word broken in
two, an image that is not shown; exit code 1 if there is any. The standard library and a Chromium are all it takes.
"""

import argparse
import base64
import http.server
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

WIDTHS = (400, 800, 1400)
HEIGHT = 900
SECONDS = 60
"""What Chromium may take for one answer."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--remote-debugging-pipe")
# Pages are this project's own; as root, as in most containers, Chromium starts in no other way.
ALONE = ("--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
MEASURE = """(() => {
  const width = innerWidth, found = [];
  const named = part => {
    const kinds = [...part.classList].map(kind => "." + kind).join("");
    const text = (part.innerText || part.alt || "").trim().replace(/\\s+/g, " ").slice(0, 50);
    return `<${part.tagName.toLowerCase()}${kinds}> "${text}"`;
  };
  const walk = part => {
    const style = getComputedStyle(part), box = part.getBoundingClientRect(), before = found.length;
    const shown = box.width && box.height && style.visibility !== "hidden" && style.position !== "fixed";
    const scrolls = part !== document.body && ["auto", "scroll"].includes(style.overflowX);
    if (!shown || scrolls || part.tagName === "svg") return;
    [...part.children].forEach(walk);
    if (found.length > before) return;
    const cuts = ["hidden", "clip"].includes(style.overflowX) && style.textOverflow !== "ellipsis";
    if (box.left < width && box.right > width + 1)
      found.push(`${named(part)} reaches ${Math.round(box.right)} px`);
    else if (cuts && part.scrollWidth > part.clientWidth + 1)
      found.push(`${named(part)} is cut off, ${part.scrollWidth} px in a box of ${part.clientWidth}`);
  };
  walk(document.body);
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange();
  const seen = {checkOpacity: true, checkVisibilityCSS: true};
  while (texts.nextNode()) {
    if (!texts.currentNode.parentElement.checkVisibility(seen)) continue;
    for (const word of texts.currentNode.data.matchAll(/(?<!\\S)\\p{L}{2,12}(?!\\S)/gu)) {
      range.setStart(texts.currentNode, word.index);
      range.setEnd(texts.currentNode, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map(line => line.top));
      if (lines.size > 1) found.push(`"${word[0]}" is broken in two`);
    }
  }
  const whole = document.documentElement.scrollWidth;
  return [...new Set((whole > width ? [`the page is ${whole} px wide`] : []).concat(found))].slice(0, 5);
})()"""
"""What is wider than the window or its box, the innermost part of each; a box that scrolls may hold anything."""
READY = """(async () => {
  document.querySelectorAll("details").forEach(part => part.open = true);
  document.querySelectorAll("img[loading=lazy]").forEach(image => image.loading = "eager");
  await document.fonts.ready;
  const images = [...document.images];
  await Promise.all(images.map(image => image.decode().catch(() => {})));
  const lost = images.filter(image => image.src && !image.naturalWidth);
  return lost.map(image => `an image is not shown: ${image.src.slice(0, 90)}`);
})()"""


class Browser:
    """A Chromium that answers the DevTools protocol over a pipe: JSON texts that end in a zero byte."""

    def __init__(self, program: str, profile: str) -> None:
        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()
        command = [program, *FLAGS, *ALONE, f"--user-data-dir={profile}", "about:blank"]
        # Chromium reads file descriptor 3 and writes 4, which a shell can give it without code between fork and exec
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", f'exec 3<&{to_child} 4>&{from_child}; exec "$0" "$@"', *command],
            pass_fds=(to_child, from_child),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_child)
        os.close(from_child)
        self._unread, self._last = b"", 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its answer; what happens meanwhile is kept in ``events``."""
        self._last += 1
        command = {"id": self._last, "method": method, "params": parameters}
        os.write(self._out, json.dumps(command | ({"sessionId": session} if session else {})).encode() + b"\0")
        deadline = time.monotonic() + SECONDS
        while (message := self._message(deadline)).get("id") != self._last:
            self.events.append(message)
        if "error" in message:
            raise SystemExit(f"Chromium: {method}: {message['error']['message']}")
        answer: dict[str, Any] = message["result"]
        return answer

    def wait(self, event: str) -> None:
        """Return when an event has come."""
        deadline = time.monotonic() + SECONDS
        while not any(message.get("method") == event for message in self.events):
            self.events.append(self._message(deadline))

    def close(self) -> None:
        """End Chromium, and wait for its end."""
        os.close(self._out)
        os.close(self._in)
        self._process.terminate()
        self._process.wait()

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(self._in, 1 << 20) if ready else b""
            if not part:
                raise SystemExit("Chromium: it has ended" if ready else f"Chromium: no answer in {SECONDS} s")
            self._unread += part
        text, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


def look_at(browser: Browser, host: str, path: str, shots: Path | None) -> list[str]:
    """Open a page at each width; return its faults, those of all widths once."""
    browser.events.clear()
    target = browser.call("Target.createTarget", url="about:blank")["targetId"]
    session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Network", "Log", "Runtime"):
        browser.call(f"{domain}.enable", session)
    faults: dict[str, list[int]] = {}
    for width in WIDTHS:
        size = {"width": width, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        browser.call("Emulation.setDeviceMetricsOverride", session, **size)
        if width == WIDTHS[0]:
            browser.call("Page.navigate", session, url=f"http://{host}/{quote(path)}")
            browser.wait("Page.loadEventFired")
        for script in (READY, MEASURE):
            answer = browser.call("Runtime.evaluate", session, expression=script, awaitPromise=True, returnByValue=True)
            for fault in answer["result"]["value"]:
                faults.setdefault(fault, []).append(width)
        if shots is not None:
            picture = browser.call("Page.captureScreenshot", session, captureBeyondViewport=True)["data"]
            (shots / f"{path.replace('/', '-')}-{width}.png").write_bytes(base64.b64decode(picture))
    said = list(dict.fromkeys(faults_of_events(browser.events, host)))
    browser.call("Target.closeTarget", targetId=target)
    return said + [f"{fault} (at {', '.join(map(str, widths))})" for fault, widths in faults.items()]


def faults_of_events(events: Sequence[dict[str, Any]], host: str) -> Iterator[str]:
    """Yield the errors in the console and the requests to anywhere but ``host`` among the protocol's events."""
    for event in events:
        about = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                url = urlsplit(about["request"]["url"])
                if url.scheme not in ("data", "blob", "about") and url.netloc != host:
                    yield f"asks another host: {about['request']['url']}"
            case "Log.entryAdded" if about["entry"]["level"] == "error":
                yield f"error in the console: {about['entry']['text']} {about['entry'].get('url', '')}".rstrip()
            case "Runtime.consoleAPICalled" if about["type"] in ("error", "assert"):
                said = " ".join(str(each.get("value", each.get("description"))) for each in about["args"])
                yield f"error in the console: {said}"
            case "Runtime.exceptionThrown":
                what = about["exceptionDetails"]
                yield f"error in the console: {what.get('exception', {}).get('description', what['text'])}"


def pages(places: Sequence[Path]) -> list[Path]:
    """Return the HTML files among ``places`` and in its folders, in order."""
    found = []
    for place in places:
        inside = sorted(place.rglob("*.html")) if place.is_dir() else [place] if place.is_file() else []
        if not inside:
            raise SystemExit(f"{place}: no HTML page found, expected a page or a folder with some; make them first")
        found += inside
    return found


def find_browser() -> str:
    """Return Chromium's program, from ``$CHROMIUM`` or the path."""
    for name in (os.environ.get("CHROMIUM", ""), *BROWSERS):
        if name and (program := shutil.which(name)):
            return program
    raise SystemExit(
        f"Chromium: none found among {', '.join(BROWSERS)}, expected one to open the pages with; "
        "install it (apt-get install chromium), or name it in CHROMIUM"
    )


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; yield ``host:port``."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_: Any) -> None:
            """Say nothing of each request."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def main(arguments: Sequence[str] | None = None) -> int:
    """Look at the pages that are named; return 1 if any has a fault."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("place", nargs="*", type=Path, help="HTML files and folders of them; none: just find Chromium")
    parser.add_argument("--shots", type=Path, help="a folder for a PNG of every page at every width")
    options = parser.parse_args(arguments)
    program, found = find_browser(), pages(options.place)
    if not found:
        return 0
    if options.shots is not None:
        options.shots.mkdir(parents=True, exist_ok=True)
    faulty = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        try:
            for place in options.place:
                root = place if place.is_dir() else place.parent
                with served(root) as host:  # a site of its own: that is where its page for a wrong address works
                    for path in pages([place]):
                        faults = look_at(browser, host, path.relative_to(root).as_posix(), options.shots)
                        faulty += bool(faults)
                        print(f"{path}: {'; '.join(faults) or 'sound'}", flush=True)
        finally:
            browser.close()
    print(f"{len(found)} pages at {', '.join(map(str, WIDTHS))} px, {faulty} with faults")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())
