"""A batch and its reply -> one settlement per id; or the ids that must be asked for again.

By ``shareId``; by position only where no item names an id and the lengths agree (the table of
batchCancel.html has no ``shareId``, its example does). Ids the reply does not answer for are asked
for again, alone. Refuses to guess.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

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
class Pairing:
    """What a reply settles of a batch, by index into its ids.

    Attributes:
        settled: Groups of indices with what they share.
        missing: Indices the reply does not answer for, or not readably.
        again: Indices refused for now, with what to say should that be the last word.
        oddities: What was strange about the reply, for the log.
    """

    settled: Sequence[tuple[Settlement, Sequence[int]]]
    missing: Sequence[int] = ()
    again: Sequence[tuple[Settlement, Sequence[int]]] = ()
    oddities: Sequence[str] = ()


def pair(
    ids: Sequence[str],
    reply: CancelReply,
    rules: Rules,
    *,
    attempts: int = 1,
    trace_id: str = "",
    secrets: tuple[str, ...] = (),
) -> Pairing:
    """Match a reply to the ids it was asked for.

    Args:
        ids: The batch.
        reply: The reply to it.
        rules: How codes of single ids are read.
        attempts: How many requests carried these ids so far.
        trace_id: Of the last of them.
        secrets: What no text may repeat.
    """
    subs = reply.sub_responses or ()
    oddities: list[str] = []
    answers = _answers(ids, subs, oddities)
    groups, missing = _grouped(answers)
    settled: list[tuple[Settlement, Sequence[int]]] = []
    again: list[tuple[Settlement, Sequence[int]]] = []
    for (code, message), indices in groups.items():
        settlement = _settle(code, scrub(message, secrets), rules, attempts, trace_id, secrets)
        wanted_again = settlement.status is Status.REJECTED and (code in rules.again or settlement.retryable)
        (again if wanted_again else settled).append((settlement, indices))
    return Pairing(settled=settled, missing=missing, again=again, oddities=oddities)


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


def _answers(
    ids: Sequence[str], subs: Sequence[ShareSubResponse], oddities: list[str]
) -> Sequence[tuple[str | None, str]]:
    """Code and message for each id in turn; no code where there is none for it."""
    if isinstance(subs, SubResponses) and subs.share_ids == tuple(ids):
        return list(zip(subs.codes, subs.messages, strict=True))  # as asked: what nearly every reply is
    found = _by_position(ids, subs, oddities) if _nameless(subs) else _by_id(ids, subs, oddities)
    return [(None, "") if sub is None else (sub.code, sub.message) for sub in found]


def _nameless(subs: Sequence[ShareSubResponse]) -> bool:
    return bool(subs) and all(sub.share_id is None for sub in subs)


def _by_position(
    ids: Sequence[str], subs: Sequence[ShareSubResponse], oddities: list[str]
) -> Sequence[ShareSubResponse | None]:
    if len(subs) != len(ids):
        oddities.append(f"{len(subs)} answers without ids for {len(ids)} ids: none can be matched")
        return [None] * len(ids)
    oddities.append("answers without ids, matched by position")
    return subs


def _by_id(
    ids: Sequence[str], subs: Sequence[ShareSubResponse], oddities: list[str]
) -> Sequence[ShareSubResponse | None]:
    answers: dict[str, ShareSubResponse] = {}
    wanted = set(ids)
    foreign = 0
    for sub in subs:
        if sub.share_id is None or sub.share_id not in wanted:
            foreign += 1
        elif (first := answers.setdefault(sub.share_id, sub)) is not sub and first.code != sub.code:
            oddities.append("two answers for one id that differ: the first counts")
    if foreign:
        oddities.append(f"{foreign} answers for ids that were not asked for")
    return [answers.get(i) for i in ids]


def _settle(
    code: str, message: str, rules: Rules, attempts: int, trace_id: str, secrets: tuple[str, ...]
) -> Settlement:
    error = None
    shown = scrub(code, secrets)
    if code == "0":
        status = Status.CANCELLED
    elif code in rules.gone:
        status = Status.ALREADY_GONE
    else:
        status = Status.REJECTED
        error = item_error(code, message, trace_id)
        error.code = shown
        error.attempts = attempts
        error.retryable = error.retryable or code in rules.again
    return Settlement(
        status=status,
        code=shown,
        message=message,
        attempts=attempts,
        trace_id=trace_id,
        error=error,
        answered=True,
    )
