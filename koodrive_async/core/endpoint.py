"""Where the service is: scheme, host and port. Refuses whatever would show the credentials to others."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import attrs

from koodrive_async.core.errors import ConfigurationError

_DEFAULT_PORTS = {"https": 443, "http": 80}
#: A name, or an address; a backslash, say, is a path to some and part of the host to others.
_NAME = re.compile(r"(?=.*[a-z0-9])[a-z0-9._-]+|[0-9a-f.]*:[0-9a-f:.]+(%[a-z0-9._-]+)?")
_LIKE = "the endpoint must be an https URL such as 'https://intl.myhuaweicloud-koodrive.com'"


@attrs.frozen(slots=True)
class Endpoint:
    """The service's address.

    Attributes:
        scheme: "https", or "http" for loopback.
        hostname: The host alone, lower case.
        host: The value of ``Host`` as on the wire: with a port that is not the scheme's default.
    """

    scheme: str
    hostname: str
    host: str

    @classmethod
    def parse(cls, text: object) -> Endpoint:
        """The endpoint from what a caller wrote (hosts: page koodrive_05_0009).

        Raises:
            ConfigurationError: No https URL of a host; http is for loopback only, since it would
                show the credentials to whoever carries the packets.
        """
        if not isinstance(text, str) or not text.isascii() or not text.isprintable() or " " in text:
            raise ConfigurationError(_LIKE)
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise ConfigurationError(_LIKE) from None
        hostname = parts.hostname or ""
        if parts.scheme not in _DEFAULT_PORTS or not _NAME.fullmatch(hostname):
            raise ConfigurationError(_LIKE)
        if parts.username is not None or parts.query or parts.fragment or parts.path not in ("", "/"):
            raise ConfigurationError("the endpoint is scheme and host only: no user, path, query or fragment")
        if parts.scheme == "http" and not is_loopback(hostname):
            raise ConfigurationError(
                f"http://{hostname} would send the credentials in the clear; http is for loopback"
            )
        literal = f"[{hostname}]" if ":" in hostname else hostname
        shown = literal if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{literal}:{port}"
        return cls(parts.scheme, hostname, shown)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}"


def is_loopback(hostname: str) -> bool:
    """Whether packets to it stay on this machine."""
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False
