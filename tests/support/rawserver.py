"""An HTTP/1.1 server with keep-alive whose handler decides on every byte of the answer."""

import ssl
from collections.abc import Callable, Iterable, Iterator

import attrs

from tests.support.http1 import RequestParser, SeenRequest
from tests.support.threaded import End, Peer, ThreadedServer, reset


@attrs.frozen
class Pause:
    """A step of an answer: wait, in seconds."""

    seconds: float


Step = bytes | Pause | End
Answer = bytes | End | Iterable[Step]
Handler = Callable[[SeenRequest], Answer]


class RawServer(ThreadedServer):
    """Answers each request with what `handler` returns, byte for byte.

    An iterable is sent step by step (bytes, `Pause`, `End`), as fast as the client reads; it may be endless.
    A generator that waits for the test yields `Pause`s until it may go on; the handler itself must not block.
    """

    def __init__(self, handler: Handler, *, ssl_context: ssl.SSLContext | None = None, port: int = 0) -> None:
        super().__init__(ssl_context=ssl_context, port=port)
        self.handler = handler  # may be replaced at any time
        self.requests: list[SeenRequest] = []
        self.in_flight = 0  # requests read whole whose answers are not yet written whole
        self.max_in_flight = 0

    def protocol(self, number: int) -> "_Conversation":
        return _Conversation(self, number)


class _Conversation(Peer):
    """One connection. `_steps` is the answer being sent, if any; requests behind it wait in the parser."""

    def __init__(self, server: RawServer, number: int) -> None:
        super().__init__(number)
        self._server = server
        self._parser = RequestParser(number)
        self._steps: Iterator[Step] | None = None
        self._hang_up = False
        self._choked = False
        self._pausing = False
        self._finished = False  # half-closed by us: nothing more can be answered

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        self._go_on()

    def pause_writing(self) -> None:
        self._choked = True

    def resume_writing(self) -> None:
        self._choked = False
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._steps is not None:
            close = getattr(self._steps, "close", None)
            self._answered()
            if close is not None:
                close()
        super().connection_lost(exc)

    def _go_on(self) -> None:
        try:
            while not (self.transport.is_closing() or self._choked or self._pausing or self._finished):
                if self._steps is None and not self._begin():
                    return
                self._step()
        except Exception as error:  # noqa: BLE001 - raised again at the end of the block
            self._server.errors.append(error)
            self.transport.abort()

    def _begin(self) -> bool:
        request = self._parser.pop()
        if request is None:
            return False
        server = self._server
        server.requests.append(request)
        server.in_flight += 1
        server.max_in_flight = max(server.max_in_flight, server.in_flight)
        self._hang_up = (request.header("connection") or "").lower() == "close"
        self._steps = iter(())
        answer = server.handler(request)
        self._steps = iter((answer,)) if isinstance(answer, bytes | End) else iter(answer)
        return True

    def _step(self) -> None:
        assert self._steps is not None
        match next(self._steps, None):
            case None:
                self._answered()
                if self._hang_up:
                    self.transport.close()
            case Pause(seconds):
                self._pausing = True
                self._server._loop.call_later(seconds, self._resume)
            case End.RST:
                reset(self.transport)
            case End.CLOSE:
                self.transport.close()
            case End.FIN:
                self._finished = True
                self._answered()
                self.transport.write_eof()
            case End.KEEP:
                pass
            case data:
                self.transport.write(data)

    def _resume(self) -> None:
        self._pausing = False
        if not self.closed.done():
            self._go_on()

    def _answered(self) -> None:
        self._steps = None
        self._server.in_flight -= 1
