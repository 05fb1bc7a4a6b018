"""Ready-made faults for the usual bad days, and `Chaos`, which rolls the dice for each request."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from koodrive_async.testing.answers import HTML, JSON, dump, gateway_body, throttle_text
from koodrive_async.testing.faults import Drop, Fault, Headers, Status

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from koodrive_async.testing.exchange import Cut
    from koodrive_async.testing.seen import RequestSeen

_PAGE = b"<html><head><title>%d</title></head><body><center><h1>%d</h1></center><hr>elb</body></html>\n"


def _gateway_body(code: str, text: str) -> bytes:
    """With one and the same request id: equal faults shall be equal."""
    return gateway_body(code, text, "c0ffee00" * 4)


class Chaos:
    """A rule: each request gets one of the faults with its probability, the same for the same seed.

    Args:
        seed: Of its random numbers.
        mix: Probabilities by fault; what is missing to 1 is good behaviour.
        operations: Only these operations suffer; None: all.
        limit: At most so many faults, then good behaviour; None: no end.
    """

    def __init__(
        self,
        seed: int,
        mix: Mapping[Fault, float],
        *,
        operations: Collection[str] | None = None,
        limit: int | None = None,
    ) -> None:
        if sum(mix.values()) > 1 + 1e-9 or any(share < 0 for share in mix.values()):
            raise ValueError("the probabilities must be positive and add up to 1 at most")
        self.mix = dict(mix)
        self.operations = operations
        self.limit = limit
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose

    def __call__(self, seen: RequestSeen) -> Fault | None:
        """The fault for this request."""
        if (self.operations is not None and seen.operation not in self.operations) or self.limit == 0:
            return None
        roll = self._random.random()
        for fault, share in self.mix.items():
            roll -= share
            if roll < 0:
                if self.limit is not None:
                    self.limit -= 1
                return fault
        return None


def throttled(
    retry_after: float | str | None = None, *, limit: float = 20, period: str = "1 second"
) -> Status:
    """The gateway's 429; `retry_after` goes into the header verbatim."""
    headers: list[tuple[str, str]] = [*JSON]
    if retry_after is not None:
        headers.append(("retry-after", str(retry_after)))
    return Status(429, _gateway_body("APIG.0308", throttle_text(limit, period)), headers)


def unavailable(retry_after: float | str | None = None) -> Status:
    """503 with the gateway's JSON."""
    headers = [*JSON, *([] if retry_after is None else [("retry-after", str(retry_after))])]
    return Status(503, _gateway_body("APIG.0202", "Backend unavailable."), headers)


def html_page(status: int = 502, *, act: bool = False) -> Status:
    """A proxy's HTML page: 502 from a balancer, 200 from a hotel's portal."""
    return Status(status, _PAGE % (status, status), HTML, act)


def gateway_timeout(*, act: bool = False) -> Status:
    """504: the backend took too long - whether it acted is for `act` to say."""
    return Status(504, _gateway_body("APIG.0203", "Backend timeout."), JSON, act)


def server_error(*, act: bool = False) -> Status:
    """500 with an empty body."""
    return Status(500, act=act)


def empty_reply(status: int = 200, *, act: bool = True) -> Status:
    """Success without a body (200 or 204)."""
    return Status(status, act=act)


def redirect(to: str, status: int = 307) -> Status:
    """A redirection to another address."""
    return Status(status, headers=[("location", to)])


def forbidden() -> Status:
    """The gateway's 403."""
    return Status(403, _gateway_body("APIG.0304", "The app is not authorized to access the API."), JSON)


def unauthorized(code: str = "APIG.0301") -> Status:
    """The gateway's 401, whatever the credentials."""
    return Status(
        401, _gateway_body(code, "Incorrect IAM authentication information: decrypt token fail"), JSON
    )


def refused(code: int | str, text: str = "failed", *, status: int = 400) -> Status:
    """A refusal in the service's own words, `{"code", "msg"}`, without acting."""
    return Status(status, dump({"code": code, "msg": text}), JSON)


def content_type(value: str) -> Headers:
    """The right body under another content-type."""
    return Headers({"content-type": value})


def lost_reply(how: Cut = "rst") -> Drop:
    """The service acts; its reply never arrives."""
    return Drop(act=True, how=how)


def dropped(how: Cut = "rst") -> Drop:
    """The connection is cut before the service acts."""
    return Drop(act=False, how=how)
