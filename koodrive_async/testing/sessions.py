"""Handlers of the sessions that token providers need: enterprise refresh, carrier login and refresh."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from koodrive_async.testing.answers import Answer, gateway_refusal, reply
from koodrive_async.testing.routing import Call, bad
from koodrive_async.testing.rules import Tokens, check_agent, check_trace_id, read_headers

if TYPE_CHECKING:
    from koodrive_async.testing.seen import RequestSeen
    from koodrive_async.testing.world import World

_PASSWORD, _CAPTCHA = "1", "2"
_DEFAULT_LIFE = 1800
_HOPELESS = "Incorrect IAM authentication information: "


def admit_session(world: World, seen: RequestSeen) -> str:
    """Session calls take no APP signature and no user; the carrier's name only at login."""
    headers = read_headers(seen)
    check_trace_id(headers)
    if headers.get("authorization", "").startswith("HMAC-SHA256"):
        raise gateway_refusal(401, "APIG.0301", f"{_HOPELESS}session APIs accept no app authentication")
    if seen.operation == "login":
        check_agent(world, headers)
    return ""


def refresh_session(world: World, call: Call) -> Answer:
    """POST /session/refresh: the header x-session-id names the session."""
    if call.seen.header("x-session-id") not in world.sessions:
        raise gateway_refusal(401, "APIG.0305", f"{_HOPELESS}the session does not exist")
    return reply({"code": 0, "msg": "success", "accessToken": f"Bearer+{_new_token(world)}"})


def login(world: World, call: Call) -> Answer:
    """POST /auth/login: with a password, or with a verification code."""
    account, kind = call.text("account"), call.text("authType")
    if kind == _PASSWORD:
        good = world.accounts.get(account) == call.text("password")
    elif kind == _CAPTCHA:
        good = account in world.accounts and call.text("captchaToken") == world.captcha
    else:
        raise bad("authType must be 1 or 2")
    if not good:
        raise gateway_refusal(401, "APIG.0305", f"{_HOPELESS}account or password is wrong")
    user = {
        "userId": world.user_id,
        "firstname": "Demo",
        "surname": "User",
        "phone": "138****5678",
        "email": "",
    }
    return reply({"code": 0, "msg": "success", "data": {"userInfo": user, "sessionInfo": _session(world)}})


def refresh_token(world: World, call: Call) -> Answer:
    """POST /auth/refreshToken: takes an access token that may have expired, and the refresh token."""
    authorization = call.seen.header("authorization")
    if not authorization:
        raise gateway_refusal(401, "APIG.0301", f"{_HOPELESS}no Authorization header")
    if authorization not in world.tokens and Tokens.bare(authorization) not in world.tokens.expired:
        raise gateway_refusal(401, "APIG.0301", f"{_HOPELESS}decrypt token fail")
    old = call.text("refreshToken")
    if old not in world.refresh_tokens:
        raise gateway_refusal(401, "APIG.0305", f"{_HOPELESS}the refresh token is unknown")
    if world.rotate_refresh_tokens:
        world.refresh_tokens.discard(old)
        old = ""
    session = _session(world, old)
    data = {"sessionInfo": session} if world.refresh_wraps_session else session
    return reply({"code": 0, "msg": "success", "data": data})


def _new_token(world: World) -> str:
    token = secrets.token_hex(32)
    world.tokens.add(token)
    return token


def _session(world: World, refresh: str = "") -> dict[str, Any]:
    if not refresh:
        refresh = secrets.token_hex(24)
        world.refresh_tokens.add(refresh)
    life = world.tokens.lifetime
    return {
        "accessToken": f"AT {_new_token(world)}",
        "expiresIn": _DEFAULT_LIFE if life is None else int(life),
        "issuedAt": str(int(world.now() * 1000)),
        "refreshToken": refresh,
    }
