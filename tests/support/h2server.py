"""A small HTTP/2 server over TLS that can send clients away with GOAWAY and REFUSED_STREAM."""

from collections.abc import Callable, Sequence

import attrs
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, RequestReceived, StreamEnded, StreamReset, WindowUpdated
from hyperframe.frame import GoAwayFrame

from tests.support.threaded import Peer, ThreadedServer
from tests.support.tls import Cert, server_context

Headers = Sequence[tuple[str, str]]
Handler = Callable[[str, str, Headers, bytes], tuple[int, Headers, bytes]]


@attrs.frozen
class H2Request:
    """A request that was processed."""

    method: str
    path: str
    headers: Headers
    body: bytes
    connection: int  # from 1
    stream: int  # 1, 3, 5 ...


def never(_connection: int, _stream: int) -> bool:
    return False


class H2Server(ThreadedServer):
    """Answers with `handler(method, path, headers, body) -> (status, headers, body)`.

    `goaway_after=n`: each connection processes n requests; the next one makes it send GOAWAY naming the n-th,
    so that the later ones are certainly unprocessed; it closes when the n are answered.
    `refuse(connection, stream)` picks streams for RST_STREAM REFUSED_STREAM.
    `delay`: seconds before each answer, to have several under way.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        goaway_after: int | None = None,
        refuse: Callable[[int, int], bool] = never,
        delay: float = 0.0,
        cert: Cert = "good",
    ) -> None:
        super().__init__(ssl_context=server_context(cert, alpn=("h2",)))
        self.handler = handler
        self.goaway_after = goaway_after
        self.refuse = refuse
        self.delay = delay
        self.processed: list[H2Request] = []
        self.refused = 0  # streams
        self.goaways = 0  # connections

    def protocol(self, number: int) -> "_Connection":
        return _Connection(self, number)


@attrs.define
class _Stream:
    headers: list[tuple[str, str]]
    body: bytearray = attrs.Factory(bytearray)


class _Connection(Peer):
    def __init__(self, server: H2Server, number: int) -> None:
        super().__init__(number)
        self._server = server
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._streams: dict[int, _Stream] = {}  # accepted and not answered
        self._unsent: dict[int, bytes] = {}  # rest of an answer's body, waiting for window
        self._accepted = 0
        self._last = 0  # the last stream accepted
        self._leaving = False

    def connection_made(self, transport: object) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._h2.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            for event in self._h2.receive_data(data):
                self._on(event)
            self._flush()
        except Exception as error:  # noqa: BLE001 - raised again at the end of the block
            self._server.errors.append(error)
            self.transport.abort()

    def _on(self, event: Event) -> None:
        match event:
            case RequestReceived(stream_id=int(stream), headers=headers):
                self._open(stream, [(str(name), str(value)) for name, value in headers or ()])
            case DataReceived(stream_id=int(stream), data=data, flow_controlled_length=int(length)):
                self._h2.acknowledge_received_data(length, stream)
                if stream in self._streams:
                    self._streams[stream].body += data or b""
            case StreamEnded(stream_id=int(stream)) if stream in self._streams:
                self._server._loop.call_later(self._server.delay, self._answer, stream)
            case StreamReset(stream_id=int(stream)):
                self._streams.pop(stream, None)
                self._unsent.pop(stream, None)
            case WindowUpdated():
                for stream in list(self._unsent):
                    self._send_body(stream)
            case _:
                pass

    def _open(self, stream: int, headers: list[tuple[str, str]]) -> None:
        server = self._server
        if self._leaving:
            return
        if self._accepted == server.goaway_after:
            # Past h2's back: after its own close_connection() it lets no open stream be answered.
            self._flush()
            self.transport.write(GoAwayFrame(0, last_stream_id=self._last).serialize())
            self._leaving = True
            server.goaways += 1
        elif server.refuse(self.number, stream):
            self._h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
            server.refused += 1
        else:
            self._accepted += 1
            self._last = stream
            self._streams[stream] = _Stream(headers)

    def _answer(self, stream: int) -> None:
        request = self._streams.get(stream)
        if request is None or self.transport.is_closing():
            return
        server = self._server
        pseudo = dict(request.headers)
        seen = H2Request(
            method=pseudo[":method"],
            path=pseudo[":path"],
            headers=[(name, value) for name, value in request.headers if not name.startswith(":")],
            body=bytes(request.body),
            connection=self.number,
            stream=stream,
        )
        server.processed.append(seen)
        try:
            status, headers, body = server.handler(seen.method, seen.path, seen.headers, seen.body)
            self._h2.send_headers(stream, [(":status", str(status)), *headers])
            self._unsent[stream] = body
            self._send_body(stream)
            self._flush()
        except Exception as error:  # noqa: BLE001 - raised again at the end of the block
            server.errors.append(error)
            self.transport.abort()

    def _send_body(self, stream: int) -> None:
        """Sends what the window allows, and ends the stream with the last of it."""
        body = self._unsent[stream]
        while body and (
            room := min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
        ):
            self._h2.send_data(stream, body[:room])
            body = body[room:]
        if body:
            self._unsent[stream] = body
        else:
            self._h2.end_stream(stream)
            del self._unsent[stream], self._streams[stream]

    def _flush(self) -> None:
        self.transport.write(self._h2.data_to_send())
        if self._leaving and not self._streams:
            self.transport.close()
