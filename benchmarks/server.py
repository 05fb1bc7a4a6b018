"""A service that costs next to nothing: every id of a batch is answered with success.

Run as a process of its own (`lab.Server` does): prints its port, ends with its standard input. Beyond speed
it knows two tricks: answers after a latency, and limits that it does not tell (for ``pacing``).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from functools import partial

HEAD = (
    b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
    b"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n%s\r\n"
)
SPLIT = b'","code":"0","msg":"success"},{"shareId":"'
REFUSED = b'{"error_code":"APIG.0308","error_msg":"The throttling threshold has been reached"}'


def answered(body: bytes) -> bytes:
    """The good reply to ``{"shareIds":["...",...]}``; `json.dumps` may have put blanks between."""
    ids = body[body.index(b"[") + 1 : body.rindex(b"]")].split(b'"')[1::2]
    reply = b'{"code":"0","msg":"success","subResponseList":[{"shareId":"%s","code":"0","msg":"success"}]}'
    reply %= SPLIT.join(ids)
    return HEAD % (b"200 OK", len(reply), b"") + reply


class Limits:
    """A bucket of tokens, a number of places; both unlimited unless asked for."""

    def __init__(self, rate: float, burst: float, places: int, *, tell: bool) -> None:
        self.rate, self.burst, self.places, self.tell = rate, burst, places, tell
        self.left, self.at, self.busy = burst, time.monotonic(), 0
        self.good = self.refused = 0

    def admit(self) -> bool:
        if self.rate:
            now = time.monotonic()
            self.left = min(self.burst, self.left + (now - self.at) * self.rate)
            self.at = now
            if self.left < 1:
                return False
        if self.places and self.busy >= self.places:
            return False
        self.left -= 1
        return True

    def refusal(self) -> bytes:
        wait = b"Retry-After: 1\r\n" if self.tell else b""
        return HEAD % (b"429 Too Many Requests", len(REFUSED), wait) + REFUSED


class Service(asyncio.Protocol):
    def __init__(self, limits: Limits, latency: float) -> None:
        self.limits, self.latency = limits, latency
        self.free = not (limits.rate or limits.places)
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (head := self.buffer.find(b"\r\n\r\n")) > 0:
            lower = self.buffer[:head].lower()
            at = lower.find(b"content-length:")
            size = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at > 0 else 0
            end = head + 4 + size
            if len(self.buffer) < end:
                return
            body, self.buffer = self.buffer[head + 4 : end], self.buffer[end:]
            self.serve(body)

    def serve(self, body: bytes) -> None:
        limits = self.limits
        if self.free and not self.latency:
            limits.good += 1
            self.transport.write(answered(body))
            return
        good = limits.admit()
        limits.good += good
        limits.refused += not good
        limits.busy += good
        reply = answered(body) if good else limits.refusal()
        asyncio.get_running_loop().call_later(self.latency, partial(self.reply, reply, good=good))

    def reply(self, reply: bytes, *, good: bool) -> None:
        self.limits.busy -= good
        self.transport.write(reply)


async def serve(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    limits = Limits(options.rate, options.burst, options.places, tell=options.tell)
    server = await loop.create_server(lambda: Service(limits, options.latency), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Each line asks for the counts since the last one; the end of the input is the end.
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(limits.good, limits.refused, time.process_time(), flush=True)
        limits.good = limits.refused = 0
        limits.left, limits.at = limits.burst, time.monotonic()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument("--rate", type=float, default=0.0, help="requests per second; 0: unlimited")
    parser.add_argument("--burst", type=float, default=1.0)
    parser.add_argument("--places", type=int, default=0, help="requests at a time; 0: unlimited")
    parser.add_argument("--tell", action="store_true", help="send Retry-After: 1 with a 429")
    options = parser.parse_args()
    try:
        import uvloop  # half the cost; a plain event loop does as well

        uvloop.run(serve(options))
    except ImportError:
        asyncio.run(serve(options))


if __name__ == "__main__":
    main()
