"""Match a reply to its batch: one settlement per id, or the ids that must be asked for again.

Items are matched by ``shareId``, else by an id in another field; by position only if nothing in them looks
like an id of the batch and the lengths agree (the table of batchCancel.html has no ``shareId``, its example
does). Ids without an answer, or with two different ones, are asked for again. Not here: what a code means
for the whole request (see ``verdict``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import attrs

from koodrive_async.core.models import CancelReply, ShareSubResponse, SubResponses
from koodrive_async.core.outcomes import Settlement, Status
from koodrive_async.core.secrets import scrub
from koodrive_async.core.verdict import item_error

#: The service's word for a share that does not exist ("resource does not exist", koodrive-api section 4).
GONE_CODES = ("13000309",)


@attrs.frozen(slots=True)
class Rules:
    """How codes of single ids are read; settings of the client.

    Attributes:
        gone: Codes that mean the share does not exist.
        again: Codes to ask again for.
    """

    gone: Collection[str] = frozenset(GONE_CODES)
    again: Collection[str] = frozenset()


@attrs.frozen(slots=True)
class Asked:
    """What is known of a batch when its reply comes in.

    Attributes:
        attempts: How many requests carried these ids so far.
        trace_id: Of the last of them.
        ambiguous: Whether an earlier request may have reached the service without an answer. A refusal may
            then be the consequence of that request's success, and settles nothing.
        exclusive: Whether only this package uses the connection. A borrowed client's reply may belong to
            another request, so only a list that names every id of the batch settles anything.
        refused_before: By id, the code that an earlier run saw after a lost reply. The same code again
            settles the id as REJECTED.
        secrets: What no text may contain.
    """

    attempts: int = 1
    trace_id: str = ""
    ambiguous: bool = False
    exclusive: bool = True
    refused_before: Mapping[str, str] = MappingProxyType({})
    secrets: tuple[str, ...] = ()


@attrs.frozen(slots=True)
class Pairing:
    """What a reply settles of a batch, by index into its ids.

    Attributes:
        settled: Groups of indices with what they share.
        missing: Indices without an answer, or without a readable one.
        disputed: Indices with two different answers.
        unproven: Indices with an answer that does not count: a borrowed client's reply left out others.
        again: Groups of indices refused for a passing reason, with what settles them if they are not asked
            for again.
        oddities: What was strange about the reply, for the log: a kind, and a text with its numbers.
        foreign: Whether the reply names ids that were not asked for, so that it may belong to another
            request.
    """

    settled: Sequence[tuple[Settlement, Sequence[int]]]
    missing: Sequence[int] = ()
    disputed: Sequence[int] = ()
    unproven: Sequence[int] = ()
    again: Sequence[tuple[Settlement, Sequence[int]]] = ()
    oddities: Sequence[tuple[str, str]] = ()
    foreign: bool = False


def pair(ids: Sequence[str], reply: CancelReply, rules: Rules, asked: Asked = Asked()) -> Pairing:
    """Match a reply to the ids it was asked for.

    Args:
        ids: The batch.
        reply: The reply to it.
        rules: How codes of single ids are read.
        asked: What is known of the batch.

    Returns:
        What the reply settles, and what must be asked for again.
    """
    subs = reply.sub_responses or ()
    found = _Matches()
    if isinstance(subs, SubResponses) and subs.share_ids == tuple(
        ids
    ):  # as asked: what nearly every reply is
        answers: Sequence[tuple[str | None, str]] = list(zip(subs.codes, subs.messages, strict=True))
    elif asked.exclusive or not _nameless(subs):
        answers = [(None, "") if sub is None else (sub.code, sub.message) for sub in found.match(ids, subs)]
    else:
        found.odd("nameless", "answers without ids over a borrowed client: they settle nothing")
        answers = [(None, "")] * len(ids)
    groups, missing = _grouped(answers)
    unproven: Sequence[int] = ()
    if missing and not asked.exclusive:
        unproven = sorted(index for indices in groups.values() for index in indices)
        groups = {}
    settled: list[tuple[Settlement, Sequence[int]]] = []
    again: list[tuple[Settlement, Sequence[int]]] = []
    for (code, message), indices in groups.items():
        for settlement, part in _settlements(ids, code, message, indices, rules, asked):
            passing = settlement.error is not None and settlement.error.retryable
            (again if passing else settled).append((settlement, part))
    return Pairing(
        settled=settled,
        missing=[index for index in missing if index not in found.disputed],
        disputed=sorted(found.disputed),
        unproven=unproven,
        again=again,
        oddities=found.oddities,
        foreign=found.foreign,
    )


def _grouped(
    answers: Sequence[tuple[str | None, str]],
) -> tuple[Mapping[tuple[str, str], Sequence[int]], Sequence[int]]:
    """The indices of equal answers together; and those of ids without an answer."""
    if answers:
        code, message = answers[0]
        if code is not None and answers.count(answers[0]) == len(answers):  # what nearly every reply is
            return {(code, message): list(range(len(answers)))}, ()
    groups: dict[tuple[str, str], list[int]] = {}
    missing: list[int] = []
    for index, (code, message) in enumerate(answers):
        if code is None:
            missing.append(index)
        else:
            groups.setdefault((code, message), []).append(index)
    return groups, missing


def _nameless(subs: Sequence[ShareSubResponse]) -> bool:
    return bool(subs) and all(sub.share_id is None for sub in subs)


_Found = Sequence[ShareSubResponse | None]


class _Matches:
    """Which sub-response answers for which id, and what was odd about it."""

    def __init__(self) -> None:
        self.oddities: list[tuple[str, str]] = []
        self.disputed: set[int] = set()
        self.foreign = False

    def odd(self, kind: str, text: str) -> None:
        self.oddities.append((kind, text))

    def match(self, ids: Sequence[str], subs: Sequence[ShareSubResponse]) -> _Found:
        """Return the sub-response of each id in turn, or None where there is none."""
        if not _nameless(subs):
            return self._by_id(ids, [(sub.share_id, sub) for sub in subs])
        named = [_named_in(sub, ids) for sub in subs]
        if not any(named):
            return self._by_position(ids, subs)
        if all(len(names) == 1 for names in named):
            self.odd("renamed", "answers without shareId, matched by an id in another field")
            return self._by_id(ids, [(*names, sub) for names, sub in zip(named, subs, strict=True)])  # type: ignore[misc]
        self.odd("unclear", "answers without shareId that name several ids, or none: not matched")
        return [None] * len(ids)

    def _by_position(self, ids: Sequence[str], subs: Sequence[ShareSubResponse]) -> _Found:
        if len(subs) != len(ids):
            self.odd("position", f"{len(subs)} answers without ids for {len(ids)} ids: none can be matched")
            return [None] * len(ids)
        self.odd("position", "answers without ids, matched by position")
        return subs

    def _by_id(self, ids: Sequence[str], subs: Sequence[tuple[str | None, ShareSubResponse]]) -> _Found:
        answers: dict[str, ShareSubResponse] = {}
        wanted = set(ids)
        disputed: set[str] = set()
        foreign = unnamed = 0
        for name, sub in subs:
            if not name:
                unnamed += 1
            elif name not in wanted:
                foreign += 1
            elif answers.setdefault(name, sub).code != sub.code:
                disputed.add(name)
        if foreign:
            self.foreign = True
            self.odd("foreign", f"{foreign} answers for ids that were not asked for")
        if unnamed:
            self.odd("unnamed", f"{unnamed} answers without an id among others with one: not matched")
        if disputed:
            self.odd("disputed", f"two answers that differ for each of {len(disputed)} ids: asked again")
            self.disputed = {index for index, i in enumerate(ids) if i in disputed}
        return [None if i in disputed else answers.get(i) for i in ids]


#: The characters that ids consist of: digits, letters, hyphens (in UUIDs).
_WORD = re.compile(r"[\w-]+")

#: How many characters of a text are searched for an id: an id is short, and a longer text is prose.
_LOOKED_AT = 1_000


def _named_in(sub: ShareSubResponse, ids: Sequence[str]) -> set[str]:
    """Find the ids of the batch that occur anywhere in an item without a ``shareId``."""
    wanted = set(ids)
    return {word for text in _texts(sub.extra) for word in _words(text) if word in wanted}


def _words(text: str) -> Iterator[str]:
    text = text[:_LOOKED_AT]
    yield text
    for found in _WORD.finditer(text):
        yield found[0]


def _texts(value: Any, depth: int = 3) -> Iterator[str]:
    """Yield the texts and whole numbers in a JSON value, but not its keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, int) and not isinstance(value, bool) and value.bit_length() < _LOOKED_AT:
        yield str(value)
    elif isinstance(value, Mapping | list) and depth:
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part, depth - 1)


def _settlements(
    ids: Sequence[str], code: str, message: str, indices: Sequence[int], rules: Rules, asked: Asked
) -> Iterator[tuple[Settlement, Sequence[int]]]:
    """Settle ids that have the same answer.

    After a lost reply a refusal leaves them UNKNOWN, except for ids that an earlier run saw refused with the
    same code: these are REJECTED.
    """
    made = _settlement(code, message, rules, asked)
    if made.status is not Status.UNKNOWN or not asked.refused_before:
        yield made, indices
        return
    twice = [index for index in indices if asked.refused_before.get(ids[index]) == code]
    rest = [index for index in indices if asked.refused_before.get(ids[index]) != code]
    if twice:
        yield attrs.evolve(made, status=Status.REJECTED), twice
    if rest:
        yield made, rest


def _settlement(code: str, message: str, rules: Rules, asked: Asked) -> Settlement:
    error = None
    shown, message = scrub(code, asked.secrets), scrub(message, asked.secrets)
    if code == "0":
        status = Status.CANCELLED
    elif code in rules.gone:
        status = Status.ALREADY_GONE
    else:
        # After a lost reply, "not active any more" may be the effect of the request whose reply was lost.
        status = Status.UNKNOWN if asked.ambiguous else Status.REJECTED
        error = item_error(code, message, asked.trace_id)
        error.code = shown
        error.attempts = asked.attempts
        error.ambiguous = asked.ambiguous
        error.retryable = error.retryable or code in rules.again
    return Settlement(
        status=status,
        code=shown,
        message=message,
        attempts=asked.attempts,
        trace_id=asked.trace_id,
        error=error,
        answered=True,
        told=True,
    )
