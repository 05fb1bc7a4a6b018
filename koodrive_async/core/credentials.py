"""Who is asking: `TokenCredentials`, `AppCredentials`, or nobody. Secrets never print and never pickle.

Refuses to fetch or renew a token (``shell/auth.py``) and to sign (``signing``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, ClassVar

import attrs

from koodrive_async.core.errors import ConfigurationError
from koodrive_async.core.secrets import Secret

#: A token that begins with one of these is sent verbatim: page Login.html returns "AT ...",
#: createSession.html "Bearer+...", and the permission pages want "Bearer ...".
SCHEMES = ("Bearer+", "Bearer ", "AT ")

#: What the API tables put before a bare token ("format is Bearer+{access_token}").
DEFAULT_PREFIX = "Bearer+"

#: Page koodrive_05_0035 (2025-10): the signed headers must contain these two.
REQUIRED_SIGNED = ("x-date", "x-user-id")
SIGNABLE = frozenset({*REQUIRED_SIGNED, "host", "x-hw-agentname", "content-type", "x-traceid"})


def check_header_value(name: str, value: object) -> str:
    """The value, if it can stand in a header.

    Raises:
        ConfigurationError: It is no string, empty, not printable ASCII, or has blanks around it.
    """
    # The value is not repeated in the message: it may be a secret.
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string, not {type(value).__name__}")
    if not value or not value.isascii() or not value.isprintable() or value != value.strip():
        raise ConfigurationError(
            f"{name} must be non-empty printable ASCII without line breaks or blanks around it"
        )
    return value


def _header_value(owner: object, field: attrs.Attribute[Any], value: object) -> None:
    check_header_value(f"{type(owner).__name__}({field.name}=...)", value)


def _secret(owner: object, field: attrs.Attribute[Any], value: object) -> None:
    check_header_value(
        f"{type(owner).__name__}({field.name}=...)", value.reveal() if isinstance(value, Secret) else value
    )


def _lifetime(_owner: object, _field: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
        raise ConfigurationError(f"AccessToken(expires_in=...) must be seconds above 0, got {value!r}")


def _to_secret(value: Any) -> Any:
    return Secret(value) if isinstance(value, str) else value


def _to_names(value: Any) -> tuple[str, ...]:
    names = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (None,)
    if not all(isinstance(name, str) for name in names):
        raise ConfigurationError("signed_headers must be a sequence of header names")
    return tuple(sorted({str(name).lower() for name in names}))


def _secret_or_identity(token: object) -> object:
    return token if isinstance(token, Secret) else id(token)


@attrs.frozen(slots=True)
class AccessToken:
    """A token with its lifetime, for a provider that knows it: renewed shortly before it ends.

    Attributes:
        token: The token; prints as ``***``.
        expires_in: Seconds that it lives, from now or, if it is sliding, from its last use. None: not known.
        sliding: Whether each use begins its lifetime anew (page koodrive_05_0010: the enterprise
            edition's does, 20 minutes).

    Raises:
        ConfigurationError: A token that can't stand in a header, or a lifetime that is none.
    """

    token: Secret = attrs.field(converter=_to_secret, validator=_secret)
    expires_in: float | None = attrs.field(default=None, validator=_lifetime)
    sliding: bool = False


TokenProvider = Callable[[str | None], Awaitable[str | AccessToken]]
"""Gets the token that went stale, or None at first; returns a fresh one, with its lifetime or without."""


@attrs.frozen(slots=True)
class PublicAccess:
    """No credentials at all, for the carrier's public calls alone; every other call is a `UsageError`.

    Attributes:
        agent_name: The carrier's name (``X-Hw-Agentname``), which the public calls want.

    Raises:
        ConfigurationError: A name that can't stand in a header.
    """

    agent_name: str | None = attrs.field(default=None, validator=attrs.validators.optional(_header_value))
    user_id: ClassVar[str] = ""

    def secrets(self, _token: Secret | None) -> tuple[str, ...]:
        """There are none."""
        return ()


@attrs.frozen(slots=True)
class TokenCredentials:
    """An access token (pages koodrive_05_0010, Login.html).

    Attributes:
        token: The token, or an async function that gets the stale token (None at first) and
            returns a fresh one, as a ``str`` or an `AccessToken`. Verbatim when it begins with
            ``Bearer+``, ``Bearer `` or ``AT ``, else after `prefix`.
        user_id: The KooDrive user on whose behalf calls are made (``X-User-Id``).
        agent_name: The carrier's name (``X-Hw-Agentname``), for the carrier edition.
        prefix: What stands before a bare token.

    Raises:
        ConfigurationError: A value that can't stand in a header.
    """

    token: Secret | TokenProvider = attrs.field(converter=_to_secret, eq=_secret_or_identity)
    user_id: str = attrs.field(validator=_header_value)
    agent_name: str | None = attrs.field(default=None, validator=attrs.validators.optional(_header_value))
    prefix: str = attrs.field(default=DEFAULT_PREFIX)

    @token.validator
    def _check_token(self, field: attrs.Attribute[Any], value: object) -> None:
        if not callable(value):
            _secret(self, field, value)

    @prefix.validator
    def _check_prefix(self, _field: attrs.Attribute[Any], value: object) -> None:
        if value != "":
            # A blank at its end is wanted: "Bearer ".
            check_header_value(
                "TokenCredentials(prefix=...)", value.rstrip(" ") if isinstance(value, str) else value
            )

    def secrets(self, token: Secret | None) -> tuple[str, ...]:
        """What no text of ours may repeat: the token, with its scheme and without."""
        text = token.reveal() if token else ""
        bare = next((text.removeprefix(scheme) for scheme in SCHEMES if text.startswith(scheme)), text)
        return (text, bare)

    def authorization(self, token: Secret) -> Secret:
        """The value of the header ``Authorization``."""
        text = token.reveal()
        return token if text.startswith(SCHEMES) else Secret(self.prefix + text)


@attrs.frozen(slots=True)
class AppCredentials:
    """AppId and AppSecret, for signed requests (pages koodrive_05_0029 to 0035).

    Attributes:
        app_id: The AppId.
        app_secret: The AppSecret; prints as ``***``.
        user_id: The KooDrive user on whose behalf calls are made (``X-User-Id``).
        agent_name: The carrier's name (``X-Hw-Agentname``), for the carrier edition.
        signed_headers: Which headers the signature covers; at least ``x-date`` and ``x-user-id``.
            ``host`` and ``x-hw-agentname`` are the other likely ones (the pages disagree).

    Raises:
        ConfigurationError: A value that can't stand in a header, or headers that can't be signed.
    """

    app_id: str = attrs.field(validator=_header_value)
    app_secret: Secret = attrs.field(converter=_to_secret, validator=_secret)
    user_id: str = attrs.field(validator=_header_value)
    agent_name: str | None = attrs.field(default=None, validator=attrs.validators.optional(_header_value))
    signed_headers: Sequence[str] = attrs.field(default=REQUIRED_SIGNED, converter=_to_names)

    def secrets(self, _token: Secret | None) -> tuple[str, ...]:
        """What no text of ours may repeat; a 401's may echo the AppId (koodrive-api section 4.1)."""
        return (self.app_secret.reveal(), self.app_id)

    @app_id.validator
    def _check_app_id(self, _field: attrs.Attribute[Any], value: str) -> None:
        # It stands unquoted between "AppId=" and a comma.
        if "," in value or " " in value:
            raise ConfigurationError("AppCredentials(app_id=...) must not contain commas or blanks")

    @signed_headers.validator
    def _check_signed(self, _field: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
        missing = set(REQUIRED_SIGNED).difference(value)
        unknown = set(value) - SIGNABLE
        if missing or unknown:
            raise ConfigurationError(
                f"signed_headers must contain {' and '.join(REQUIRED_SIGNED)}"
                f" and only headers of {sorted(SIGNABLE)}, got {list(value)}"
            )
        if "x-hw-agentname" in value and self.agent_name is None:
            raise ConfigurationError("signed_headers has x-hw-agentname, but there is no agent_name")


Credentials = TokenCredentials | AppCredentials | PublicAccess
