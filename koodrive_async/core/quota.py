"""How retries are slowed down: a quota that all calls of a gate share, and the back-off of one call.

Refuses to do: read a clock, roll dice, fail anything. An empty quota makes retries wait, never give up.
"""

import math
from typing import Final

TICK: Final = 1e-6
"""Shortest wait that is handed out, seconds: a rounding error must not make the caller spin."""


class RetryQuota:
    """How many retries may be under way: a storm of them waits its turn.

    The idea is AWS's ("standard" retry mode of its SDKs): retries are paid from a bucket that successes fill.
    Not thread-safe; one per gate, shared by its calls.

    Args:
        capacity: Tokens when full.
        retry_cost: Tokens that one retry takes.
    """

    FIRST: Final = 4.0
    """Tokens that a success without a retry gives back. AWS gives 1, and so slows down when more than 21 %
    of all attempts fail (14 p^2 = g (1-p)^2); with 4 it is 35 %, so that 30 % for hours is not a storm."""
    TRICKLE: Final = 5.0
    """Retries per second that even an empty quota lets through, so that nothing waits for ever."""

    def __init__(self, *, capacity: float = 500.0, retry_cost: float = 14.0) -> None:
        self._capacity = max(capacity, retry_cost)
        self._cost = retry_cost
        self._tokens = self._capacity
        self._filled_at = -math.inf

    @property
    def tokens(self) -> float:
        """What was left when somebody last took or gave."""
        return self._tokens

    def take(self, now: float) -> float:
        """Pay for one retry.

        Returns:
            0.0 if it is paid for; otherwise nothing was taken: ask again after so many seconds.
        """
        if self._tokens < self._capacity:
            trickle = max(0.0, now - self._filled_at) * self._cost * self.TRICKLE
            self._tokens = min(self._capacity, self._tokens + trickle)
        self._filled_at = now
        if self._tokens >= self._cost:
            self._tokens -= self._cost
            return 0.0
        return max(TICK, (self._cost - self._tokens) / (self._cost * self.TRICKLE))

    def give(self, *, retried: bool) -> None:
        """Give tokens back after a success: those of its last retry, or a few if there was none."""
        self._tokens = min(self._capacity, self._tokens + (self._cost if retried else self.FIRST))


def backoff(attempt: int, uniform: float, *, base: float, cap: float, floor: float = 0.0) -> float:
    """Seconds to wait before the next attempt: exponential, with full jitter above a floor.

    Args:
        attempt: Attempts made so far, 1 or more.
        uniform: A random number in [0, 1).
        base: Longest jitter after the first attempt; doubles with every further one.
        cap: Longest jitter.
        floor: Shortest wait (after throttling, or what the service asked for). The jitter comes on top,
            so that those who wait for the same moment do not all come back at it.
    """
    return floor + uniform * min(cap, math.ldexp(base, min(attempt - 1, 60)))
