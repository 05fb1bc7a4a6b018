"""What the service answers: the truth as its books have it, and every way to spoil it on the way.

`Weather.answer` executes, notes in the books what the reply is worth, and returns the bytes and how they go.
"""

import json
import random
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import attrs

from tests.checker.books import BUSY, GONE, INVALID, REFUSED, After, Books, Entry, Kind, Share


class Way(StrEnum):
    """What goes wrong with one request."""

    # The reply is lost, or says nothing. Each with and without the request having been carried out.
    RST = "RST"
    FIN = "FIN"
    HANG = "silence"
    HALF = "half a reply"
    SLOW = "slow reply"
    FAULT = "5xx"
    HTML = "HTML page"
    TRUNCATED = "truncated JSON"
    EMPTY = "empty body"
    NO_LIST = "code 0 without a list"
    ODD = "odd status"
    CLOSED_DOOR = "RST, and the port is closed for a while"
    # Never carried out.
    THROTTLED = "429"
    EXPIRED = "401"
    # Carried out afterwards.
    LATE = "504, carried out later"
    # Lists, true but odd.
    MISSING = "ids left out"
    TWICE = "items twice"
    FOREIGN = "foreign ids added"
    SHUFFLED = "another order"
    NUMBERS = "ids as numbers"
    NAMELESS = "no ids"
    MIXED = "mixed list beside a failure code"
    # Lists that mislead whoever believes too much.
    CONTRADICTION = "two answers for one id"
    OTHER_NAME = "ids under another name, another order"
    IN_TEXT = "ids in the text only, another order"
    IN_5XX = "list inside a 5xx"
    ZEROS = "zeros beside a failure code"
    # What follows a good reply on its connection.
    GLUED = "copied right behind"
    COPIED = "copied later"
    IDLE_COPY = "no ids, copied while the connection is idle"  # before the next call, for sure
    STRAY_408 = "408 later"
    STRAY_GONE = "a nameless gone later"
    GLUED_GONE = "a nameless gone right behind"
    # Everything, always.
    WRONG_USER = "nothing exists for this user"
    REFUSE_ALL = "everything is invalid"


Fault = tuple[Way, bool]
LOSSES = (Way.RST, Way.FIN, Way.HANG, Way.HALF, Way.CLOSED_DOOR)
#: These never settle anything, whoever sends them.
MUTE = (*LOSSES, Way.FAULT, Way.HTML, Way.TRUNCATED, Way.EMPTY)
STRAYS = (Way.GLUED, Way.COPIED, Way.IDLE_COPY, Way.STRAY_408, Way.STRAY_GONE, Way.GLUED_GONE)


@attrs.frozen
class Answer:
    """Bytes, and how they go.

    `end`: the connection ends with it (RST, FIN). `behind`: glued to the reply. `later`: comes unasked after
    `later_by` seconds, or, if that is 0, when the next request on the connection has come, before its answer.
    `door`: the port is closed for so long. `act_in`: the request is carried out so much later.
    """

    data: bytes = b""
    delay: float = 0.0
    end: str = ""
    hang: float = 0.0
    behind: bytes = b""
    later: bytes = b""
    later_by: float = 0.0
    door: float = 0.0
    act_in: float = 0.0
    whole: bool = True


def reply(status: int, value: Any, *, headers: str = "") -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    kind = "text/html" if body[:1] == b"<" else "application/json"
    head = f"HTTP/1.1 {status} Reason\r\nContent-Type: {kind}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


PAGE = b"<html><body>please log in</body></html>"
STRAY_GONE = reply(404, {"code": int(GONE), "msg": "resource does not exist"})
STRAY_408 = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
MESSAGES = {"0": "success", GONE: "resource does not exist", REFUSED: "not active", BUSY: "busy, later"}


def _without_ids(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"code": item["code"], "msg": item["msg"]} for item in items]


@attrs.frozen
class Weather:
    """What goes wrong, how often, and what is drawn from.

    `first` befalls the first request; `chance` is that of each later one. The fault of a request depends on
    its ids and on how often just these came, not on the order of arrival.
    """

    seed: str
    faults: Sequence[Fault] = ()
    chance: float = 0.0
    first: Fault | None = None
    always: Fault | None = None
    connections: float = 0.0  # chance of a connection that is cut at once or in the midst of a request
    idle_close: float = 0.0  # chance of a connection that the server closes after some idle ms
    gone_whole: bool = False  # "never existed" is said of the whole request

    def draw(self, *key: object) -> random.Random:
        return random.Random(f"{self.seed}/{key}")

    def answer(self, books: Books, entry: Entry) -> Answer:
        if not entry.ids:
            entry.fault = "no ids"
            return Answer(reply(400, {"code": int(INVALID), "msg": "no ids"}))
        times = books.asked[entry.ids] = books.asked.get(entry.ids, 0) + 1
        rng = self.draw(books.place(entry.ids[0]), len(entry.ids), times)
        fault = None
        if books.calm:
            pass
        elif self.always:
            fault = self.always
        elif self.first and entry.number == 1:
            fault = self.first
        elif self.faults and rng.random() < self.chance:
            fault = rng.choice(self.faults)
        return _Answering(self, books, entry, rng).under(fault)


@attrs.define
class _Answering:
    """One request and its answer."""

    weather: Weather
    books: Books
    entry: Entry
    rng: random.Random

    def under(self, fault: Fault | None) -> Answer:
        if fault is None:
            return self._truth()
        way, acts = fault
        self.entry.fault = f"{way}{', carried out' if acts else ''}"
        match way:
            case Way.THROTTLED:
                return self._refusal(429, "APIG.0308", "too many requests", headers="Retry-After: 0\r\n")
            case Way.EXPIRED:
                return self._refusal(401, "APIG.0307", "token expired")
            case Way.WRONG_USER:
                return self._refusal(self.rng.choice((200, 404)), GONE, "resource does not exist")
            case Way.REFUSE_ALL:
                return self._refusal(400, INVALID, "parameter check failed")
            case Way.LATE:
                return Answer(reply(504, {"code": 504, "msg": "backend timeout"}), act_in=0.01)
        refused = self._whole()
        if refused is not None:
            return refused
        return self._spoilt(way, acts)

    # -- the truth --------------------------------------------------------------------------------

    def _truth(self) -> Answer:
        refused = self._whole()
        if refused is not None:
            return refused
        codes = self._act()
        self.entry.claims = codes
        self.entry.plain = BUSY not in codes.values()
        return Answer(self._list(codes))

    def _whole(self) -> Answer | None:
        """The refusal of the whole request, where some id in it causes one."""
        for share in map(self.books.shares.__getitem__, self.entry.ids):
            after = share.after if share.done_by else None
            if share.kind is Kind.POISON or after is After.POISON:
                return self._refusal(self.rng.choice((200, 400)), INVALID, "parameter check failed")
            if share.kind is Kind.SICK:
                return Answer(reply(500, {"code": 500, "msg": "internal error"}))
            if (share.kind is Kind.NEVER and self.weather.gone_whole) or after is After.GONE_WHOLE:
                if len(self.entry.ids) == 1:
                    self.entry.claims = {share.share_id: GONE}
                return self._refusal(self.rng.choice((200, 404)), GONE, "resource does not exist")
            if after is After.ODD:
                return self._odd()
        return None

    def _odd(self) -> Answer:
        status = self.rng.choice((101, 102, 199, 201, 202, 206, 299))
        acts = ", carried out" if self.entry.acted else ""
        self.entry.fault = f"HTTP {status}{acts}"
        value = self.rng.choice(({"code": int(REFUSED), "msg": "not active"}, {"code": INVALID}, {"code": 1}))
        if status < 200:  # no end of an exchange, and then the connection ends
            return Answer(reply(status, value), end="FIN", whole=False)
        return Answer(reply(status, value))

    def _refusal(self, status: int, code: str, message: str, headers: str = "") -> Answer:
        self.entry.refused, self.entry.nameless = code, True
        return Answer(reply(status, {"code": code, "msg": message}, headers=headers))

    def _act(self, *, really: bool = True) -> dict[str, str]:
        """Carry the request out; the code of each id."""
        codes = {}
        for share in map(self.books.shares.__getitem__, self.entry.ids):
            codes[share.share_id] = self._code(share, really=really)
        return codes

    def _code(self, share: Share, *, really: bool) -> str:
        if share.kind is Kind.NEVER:
            return GONE
        if share.kind is Kind.REFUSED:
            return REFUSED
        if share.done_by:
            return {After.ZERO: "0", After.REFUSED: REFUSED}.get(share.after, GONE)
        if share.kind is Kind.BUSY and share.busy > 0:
            share.busy -= really
            return BUSY
        if really:
            self.books.execute(self.entry, share.share_id)
        return "0"

    def _items(self, codes: Mapping[str, str]) -> list[dict[str, Any]]:
        return [{"shareId": i, "code": code, "msg": MESSAGES[code]} for i, code in codes.items()]

    def _list(self, codes: Mapping[str, str], **extra: Any) -> bytes:
        return reply(200, {"code": 0, "msg": "success", "subResponseList": self._items(codes)} | extra)

    # -- spoilt -----------------------------------------------------------------------------------

    def _spoilt(self, way: Way, acts: bool) -> Answer:
        codes = self._act(really=acts)
        good = self._list(codes)
        if way in MUTE:
            return self._mute(way, good)
        if way is Way.ODD:
            return self._odd()
        if way is Way.NO_LIST:
            return Answer(reply(200, {"code": 0, "msg": "success", "subResponseList": None}))
        if way in (Way.IN_5XX, Way.ZEROS, Way.CONTRADICTION):
            return self._misleading(way, codes)
        if not acts:  # the rest is true
            codes = self._act()
            good = self._list(codes)
        self.entry.claims = dict(codes)
        if way is Way.SLOW:
            return Answer(good, delay=self.rng.choice((0.004, 0.02, 0.05)))
        if way in STRAYS:
            return self._followed(way, good, codes)
        return self._odd_list(way, codes)

    def _mute(self, way: Way, good: bytes) -> Answer:
        rng = self.rng
        match way:
            case Way.RST | Way.FIN:
                return Answer(end=str(way), whole=False, delay=rng.choice((0, 0, 0.003)))
            case Way.CLOSED_DOOR:
                return Answer(end="RST", whole=False, door=rng.choice((0.01, 0.03, 0.2)))
            case Way.HANG:
                return Answer(hang=0.4, end="FIN", whole=False)
            case Way.HALF:
                return Answer(
                    good[: rng.randrange(1, len(good))], end=rng.choice(("RST", "FIN")), whole=False
                )
            case Way.FAULT:
                status = rng.choice((500, 502, 503, 504, 408))
                body = rng.choice((PAGE, b"", {"code": status, "msg": "out of order"}))
                return Answer(reply(status, body))
            case Way.HTML:
                return Answer(reply(200, PAGE))
            case Way.TRUNCATED:
                body = good.partition(b"\r\n\r\n")[2]
                return Answer(reply(200, body[: rng.randrange(1, len(body))]))
        return Answer(reply(rng.choice((200, 204)), b""))

    def _misleading(self, way: Way, codes: dict[str, str]) -> Answer:
        """Lists that contradict themselves; nothing is claimed by what they contradict."""
        rng = self.rng
        zeros = dict.fromkeys(codes, "0")
        if way is Way.ZEROS:
            status, code = rng.choice(((200, int(INVALID)), (400, int(INVALID)), (200, 500), (400, 0)))
            data = {"code": code, "msg": "parameter check failed", "subResponseList": self._items(zeros)}
            return Answer(reply(status, data))
        if way is Way.IN_5XX:
            status, code = rng.choice((500, 500, 502, 503)), rng.choice((0, 500, int(INVALID)))
            shown = rng.choice((codes, zeros, dict.fromkeys(codes, REFUSED), dict.fromkeys(codes, GONE)))
            return Answer(reply(status, {"code": code, "subResponseList": self._items(shown)}))
        torn = set(rng.sample(list(codes), rng.randint(1, len(codes))))
        self.entry.claims = {i: code for i, code in codes.items() if i not in torn and self._holds(i, code)}
        items = []
        for share_id, code in codes.items():
            two = [code, REFUSED if code == "0" else rng.choice(("0", GONE if code == REFUSED else REFUSED))]
            rng.shuffle(two)
            for one in two if share_id in torn else [code] if share_id in self.entry.claims else []:
                items += self._items({share_id: one})
        return Answer(reply(200, {"code": 0, "msg": "success", "subResponseList": items}))

    def _holds(self, share_id: str, code: str) -> bool:
        return code != "0" or self.books.shares[share_id].done_by is not None

    def _followed(self, way: Way, good: bytes, codes: Mapping[str, str]) -> Answer:
        later = self.rng.choice((0.0, 0.0, 0.001, 0.004, 0.008))
        match way:
            case Way.GLUED:
                return Answer(good, behind=good)
            case Way.GLUED_GONE:
                return Answer(good, behind=STRAY_GONE)
            case Way.COPIED:
                return Answer(good, later=good, later_by=later)
            case Way.IDLE_COPY:
                self.entry.nameless = True
                nameless = self._list(codes, subResponseList=_without_ids(self._items(codes)))
                return Answer(nameless, later=nameless, later_by=0.004)
            case Way.STRAY_GONE:
                return Answer(good, later=STRAY_GONE, later_by=later)
        return Answer(good, later=STRAY_408, later_by=later)

    def _odd_list(self, way: Way, codes: dict[str, str]) -> Answer:
        """Lists that are true, whatever they look like."""
        rng, entry = self.rng, self.entry
        items = self._items(codes)
        extra: dict[str, Any] = {}
        match way:
            case Way.MISSING:
                left_out = set(rng.sample(list(codes), rng.randint(1, len(codes))))
                items = [item for item in items if item["shareId"] not in left_out]
                entry.claims = {i: code for i, code in codes.items() if i not in left_out}
            case Way.FOREIGN:
                foreign = str(9 * 10**18 + rng.randrange(10**6))
                items += self._items({foreign: rng.choice(("0", GONE, REFUSED))})
                if rng.random() < 0.5:
                    items.pop(0)
                    entry.claims.pop(next(iter(codes)))
            case Way.TWICE:
                items += rng.sample(items, rng.randint(1, len(items)))
            case Way.MIXED if set(codes.values()) != {"0"}:
                extra = {"code": int(INVALID), "msg": "partial failure"}
            case _:
                items = self._renamed(way, items)
        if way in (Way.FOREIGN, Way.SHUFFLED, Way.OTHER_NAME, Way.IN_TEXT):
            rng.shuffle(items)
        return Answer(reply(200, {"code": 0, "msg": "success", "subResponseList": items} | extra))

    def _renamed(self, way: Way, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The items with their ids elsewhere, or nowhere."""
        match way:
            case Way.NUMBERS:
                return [item | {"shareId": int(item["shareId"]), "code": int(item["code"])} for item in items]
            case Way.NAMELESS:
                self.entry.nameless = True
                return _without_ids(items)
            case Way.OTHER_NAME:
                name = self.rng.choice(("id", "share_id", "shareid", "resourceId"))
                return [{name: item["shareId"], "code": item["code"], "msg": item["msg"]} for item in items]
            case Way.IN_TEXT:
                texts = [f"share {item['shareId']}: {item['msg']}" for item in items]
                codes = [item["code"] for item in items]
                return [{"code": code, "msg": text} for code, text in zip(codes, texts, strict=True)]
        return items
