"""Secrets that never print, and texts freed of them. Refuses to decide who may see what."""

from __future__ import annotations

import re
from typing import NoReturn

MASK = "***"

#: Excerpts of bodies we could not understand (fault matrix: <= 200 bytes).
EXCERPT = 200
#: A refusal's text may explain itself (a gateway's canonical string, say); pages of it help nobody.
MESSAGE = 600

# What a reply may echo of our own headers: koodrive-api.md 4.1, "messages of 401s may echo the app key".
_ECHOES = re.compile(
    r"(?P<name>(?:(?:access_?|refresh_?)?token|app_?secret|kdstoken|extract_?code|password|signature|app_?id"
    r"|session_?id|(?:phone|mobile)\w*)"
    r"[\"']?\s*[=:]\s*[\"']?)(?:(?:Bearer|AT) )?[^\s\"',;&]+"
    # A pre-signed address opens the file as a whole.
    r"|(?P<address>download_?(?:url|links?)[\"']?\s*[=:]\s*[\"']?)[^\s\"']+"
    r"|(?P<scheme>\b(?:Bearer[+ ]|(?-i:AT )))[^\s\"',;]+",
    re.IGNORECASE,
)


class Secret:
    """A string that prints as ``***`` and refuses to be pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself: for the line that puts it on the wire or into a hash."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled: build the credentials anew where they are needed")


def scrub(text: str, secrets: tuple[str, ...] = (), *, limit: int = MESSAGE) -> str:
    """The text without the given secrets and whatever looks like one, printable, cut at `limit`."""
    for secret in sorted(secrets, key=len, reverse=True):  # of secrets within each other the longest first
        if secret:
            text = text.replace(secret, MASK)
    text = text[: limit * 4]  # before the patterns run, so that a hostile reply of megabytes costs little
    text = _ECHOES.sub(lambda hit: (hit["name"] or hit["address"] or hit["scheme"] or "") + MASK, text)
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
