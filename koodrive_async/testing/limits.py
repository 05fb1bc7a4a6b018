"""Throttling: how many requests the gateway lets through. Numbers in, numbers out."""

from __future__ import annotations

import math

import attrs

from koodrive_async.testing.answers import Answer, gateway_body, throttle_text


@attrs.frozen
class RateLimit:
    """How many requests are granted: by a token bucket, or in fixed windows.

    Attributes:
        per_second: Requests granted a second in the long run.
        burst: Size of the bucket; None: a tenth of a second's worth, at least one.
        window: Seconds of a fixed window; it grants `per_second * window`. None: a bucket.
        retry_after: The Retry-After header, verbatim. `"auto"`: whole seconds until a request would be
            granted. None: no such header, as gateways often leave it.
        explain: Whether the refusal names the limit (`limit:20,time:1 second`).
    """

    per_second: float
    burst: float | None = None
    window: float | None = None
    retry_after: str | None = None
    explain: bool = True

    def refusal(self, wait: float) -> Answer:
        """The gateway's 429 for a request that came `wait` seconds too early."""
        if self.window is None or self.window == 1:
            text = throttle_text(self.per_second)
        else:
            text = throttle_text(self.per_second * self.window, f"{self.window:g} seconds")
        if not self.explain:
            text = "The throttling threshold has been reached"
        answer = Answer(429, gateway_body("APIG.0308", text))
        if self.retry_after is None:
            return answer
        after = str(max(1, math.ceil(wait))) if self.retry_after == "auto" else self.retry_after
        return answer.with_headers([("retry-after", after)])


class Meter:
    """Counts what a `RateLimit` grants. Not thread-safe: its owner holds the lock."""

    def __init__(self, limit: RateLimit, now: float) -> None:
        self.limit = limit
        self._burst = limit.burst if limit.burst is not None else max(1.0, limit.per_second / 10)
        self._tokens = self._burst
        self._at = now
        self._window = -1
        self._used = 0

    def wait(self, now: float) -> float:
        """0.0 grants the request; anything else is how many seconds it came too early."""
        limit = self.limit
        if limit.window is not None:
            window = math.floor(now / limit.window)
            if window != self._window:
                self._window, self._used = window, 0
            if self._used < max(1, math.floor(limit.per_second * limit.window)):
                self._used += 1
                return 0.0
            return (window + 1) * limit.window - now
        self._tokens = min(self._burst, self._tokens + (now - self._at) * limit.per_second)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / limit.per_second if limit.per_second > 0 else math.inf
