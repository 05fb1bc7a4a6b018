"""Whether a request has left this machine: what makes the difference between NOT_SENT and UNKNOWN."""

from __future__ import annotations

from typing import Any


class Departure:
    """Whether a request has left; until then it is certain that nothing was sent.

    Attributes:
        left: Bytes of it may be under way.
        reused: It goes over a connection that served before.
    """

    __slots__ = ("left", "reused")

    def __init__(self) -> None:
        self.left = self.reused = False

    async def watch(self, name: str, info: dict[str, Any]) -> None:
        """Httpcore's trace of a new connection: setting it up, through a proxy too, is not yet leaving."""
        if name.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
            self.left = True

    def spoil(self) -> None:
        """Throw away the connection (placeholder until the slots know it)."""
