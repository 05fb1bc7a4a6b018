"""What follows a reply or a failure: a piece is settled, asked again or halved, or the call ends.

Not here: sending (see ``bulk``), which piece is next (see ``agenda``), where outcomes go (see ``recording``).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence

import attrs

from koodrive_async.core.batching import Batch
from koodrive_async.core.errors import ApiError, BadReply, KooDriveError, NotFound, Throttled
from koodrive_async.core.models import CancelReply
from koodrive_async.core.outcomes import Settlement, Status
from koodrive_async.core.pacing import backoff
from koodrive_async.core.pairing import Asked, Pairing, Rules, pair
from koodrive_async.core.verdict import TOO_LARGE, Meaning
from koodrive_async.shell.agenda import Agenda, Piece
from koodrive_async.shell.call import Caller
from koodrive_async.shell.log import say
from koodrive_async.shell.recording import Recorder

#: How often ids that were refused for a passing reason are asked again.
ROUNDS = 3

#: How often ids without an answer, or with two different ones, are asked again.
MISSING_ROUNDS = 2

#: Up to this many ids of a batch that have two different answers are asked again one by one. More are asked
#: together, since a service that always answers like this must not cost a request for each id.
ALONE = 10


@attrs.define(slots=True, eq=False)
class Accused:
    """A single id that was refused while it is in doubt whether everything would be.

    Attributes:
        piece: The piece that consists of this id.
        settlement: The outcome of the id if other ids are accepted.
        gone: Whether the service said that no such share exists.
        confirmed: Whether the refusal can be believed: it was repeated, or once is enough.
    """

    piece: Piece
    settlement: Settlement
    gone: bool
    confirmed: bool

    def in_doubt(self) -> Settlement:
        """Return the outcome if everything was refused: retryable, since the id may not be to blame."""
        trail = self.piece.trail
        if trail.error is not None:
            trail.error.retryable = True
        unknown = trail.ambiguous or self.settlement.status is Status.UNKNOWN
        status = Status.UNKNOWN if unknown else Status.REJECTED
        return attrs.evolve(self.settlement, status=status, error=trail.error, answered=False)


class Replies:
    """The decisions about the pieces of one bulk call.

    Args:
        caller: Makes the requests.
        rules: How codes of single ids are read.
        agenda: Takes what is asked again.
        recorder: Takes what is settled.
        fail: Ends the call with an error.
    """

    def __init__(
        self,
        caller: Caller,
        rules: Rules,
        agenda: Agenda,
        recorder: Recorder,
        fail: Callable[[Exception], None],
    ) -> None:
        self._caller, self._rules, self._agenda, self._recorder, self._fail = (
            caller,
            rules,
            agenda,
            recorder,
            fail,
        )
        self._accused: list[Accused] = []
        self._gone_before = 0
        #: The last failure of a piece that used up its attempts.
        self.last_transient: KooDriveError | None = None

    # -- a reply ----------------------------------------------------------------------------------

    async def answered(self, piece: Piece, reply: CancelReply) -> None:
        """Match a reply to the ids of its piece; settle them or ask again."""
        batch, trail, exclusive = piece.batch, piece.trail, self._caller.sender.wire.exclusive
        asked = Asked(
            attempts=piece.attempts,
            trace_id=trail.trace_id,
            ambiguous=trail.ambiguous,
            exclusive=exclusive,
            refused_before=piece.refused_before,
            secrets=self._caller.secrets(),
        )
        pairing = pair(batch.ids, reply, self._rules, asked)
        if pairing.oddities:
            self._mention(pairing, trail.trace_id)
        if pairing.foreign:  # it may have been the reply to another request
            trail.spoil()
        if pairing.settled or pairing.again:
            self._agenda.accepted(piece)
            if self._accused:  # not everything is refused, so these ids were to blame themselves
                await self._settle_accused()
        groups = [
            (settlement, batch if len(indices) == len(batch.ids) else batch.only(indices))
            for settlement, indices in pairing.settled
        ]
        if not trail.ambiguous:
            self._gone_before += sum(
                len(batch.ids) for settlement, batch in groups if settlement.status is Status.ALREADY_GONE
            )
        for settlement, indices in pairing.again:
            if isinstance(settlement.error, Throttled):
                settlement.error.retry_after = trail.retry_after
                self._caller.gate.throttled(settlement.error, trail.retry_after)
            if piece.rounds < ROUNDS:
                rest = self._again(piece, batch.only(indices))
                rest.trail.error = settlement.error
                rest.trail.refused = settlement.error
            else:
                groups.append((settlement, batch.only(indices)))
        if pairing.missing or pairing.disputed or pairing.unproven:
            groups += self._unanswered(piece, pairing)
        await self._recorder.record(groups)

    def _unanswered(self, piece: Piece, pairing: Pairing) -> Sequence[tuple[Settlement, Batch]]:
        """Ask again for ids without a clear answer; return those asked often enough with their outcome."""
        batch, trail = piece.batch, piece.trail
        trail.ambiguous = True
        trail.note(BadReply("the reply does not answer for this id", trace_id=trail.trace_id), refusing=False)
        parts = [pairing.missing, pairing.unproven]
        if len(pairing.disputed) <= ALONE:
            parts += [[index] for index in pairing.disputed]
        else:
            parts.append(pairing.disputed)
        groups = []
        for part in filter(None, parts):
            if piece.rounds < MISSING_ROUNDS:
                self._again(piece, batch.only(part))
            else:
                groups.append((piece.as_is(), batch.only(part)))
        return groups

    def _again(self, piece: Piece, batch: Batch) -> Piece:
        retry = self._caller.retry
        delay = backoff(piece.rounds + 1, 0.5, base=retry.base, cap=retry.cap)
        return self._agenda.again(piece, batch, self._caller.now() + delay)

    def _mention(self, pairing: Pairing, trace_id: str) -> None:
        mentioned = self._caller.sender.mentioned
        for kind, text in pairing.oddities:
            if kind not in mentioned:
                mentioned.add(kind)
                say(logging.WARNING, "%s (trace id %s; mentioned once)", text, trace_id)

    # -- a failure --------------------------------------------------------------------------------

    async def failed(self, piece: Piece, error: KooDriveError) -> None:
        """Handle the final failure of a piece's call."""
        match piece.trail.meaning:
            case _ if error.gave_up == "deadline":
                self._agenda.drop(piece)
            case Meaning.INVALID:
                await self._invalid(piece, error)
            case Meaning.TRANSIENT if error.gave_up in ("attempts", "budget") and self._has_a_chance(piece):
                self.last_transient = error
            case Meaning.REFUSED if not (piece.confirming or self._caller.sender.wire.exclusive):
                self._agenda.confirm(piece)  # over a borrowed client it may answer another request
            case Meaning.TRANSIENT | Meaning.REFUSED:
                if piece.trail.meaning is Meaning.TRANSIENT:
                    self.last_transient = error
                if not piece.alone:
                    says_nothing_of_ids(piece)
                await self._recorder.record([(piece.as_is(), piece.batch)])
            case _:
                says_nothing_of_ids(piece)
                self._agenda.drop(piece)
                self._fail(error)

    def _has_a_chance(self, piece: Piece) -> bool:
        """Have what used up its attempts tried once more, if that may help."""
        if self._agenda.suspicion.ever_accepted and not piece.alone:
            self._agenda.suspect(piece)
        elif not piece.last:
            self._agenda.postpone(piece)
        else:
            return False
        return True

    async def _invalid(self, piece: Piece, error: KooDriveError) -> None:
        """Handle a refusal for the content: a single id is to blame; of several, look for the bad ones."""
        suspicion = self._agenda.suspicion
        if getattr(error, "status", 0) == TOO_LARGE and not piece.alone:  # what is wrong is known
            self._agenda.too_large(piece.size)
            self._agenda.halve(piece)
            return
        suspicion.refused(sample=piece.sample)
        if suspicion.hopeless:
            self._agenda.drop(piece)
            self._fail(self._refuses_everything(error))
        elif not piece.alone:
            self._agenda.invalid(piece)
        else:
            gone = getattr(error, "code", "") in self._rules.gone
            settlement = self._refused_alone(piece, error, gone=gone)
            # The answer names no id, so it may belong to another request. Therefore "gone" is believed only
            # when it is repeated; over a borrowed client, whose connections are not known, so is any refusal.
            twice = gone or not self._caller.sender.wire.exclusive
            if twice and not piece.confirming and not suspicion.wants_sample:
                piece.trail.spoil()
                self._agenda.confirm(piece)
                return
            self._accused.append(Accused(piece, settlement, gone, confirmed=piece.confirming or not twice))
            if not suspicion.doubtful:
                await self._settle_accused()

    def _refused_alone(self, piece: Piece, error: KooDriveError, *, gone: bool) -> Settlement:
        """Return the outcome of an id after its request was refused, when it was the only id in it."""
        code, known = getattr(error, "code", ""), piece.as_is()
        if gone and self._caller.sender.wire.exclusive:
            status = Status.ALREADY_GONE
        elif gone or (piece.trail.ambiguous and piece.refused_before.get(piece.batch.ids[0]) != code):
            status = Status.UNKNOWN  # an earlier request may have succeeded, or this is about another id
        else:
            status = Status.REJECTED
        well = status is Status.ALREADY_GONE
        return attrs.evolve(
            known,
            status=status,
            code=code,
            message=getattr(error, "message", ""),
            error=None if well else piece.trail.error,
            answered=well,
            told=True,
        )

    async def _settle_accused(self) -> None:
        self.confirm_rest()
        accused, self._accused = self._accused, []
        await self._recorder.record([(one.settlement, one.piece.batch) for one in accused])

    def confirm_rest(self) -> bool:
        """Ask again for refused ids whose refusal must be repeated; return whether there were any.

        If nothing was ever accepted, do nothing: `conclude` then treats all of them alike.
        """
        rest = (
            [one for one in self._accused if not one.confirmed]
            if self._agenda.suspicion.ever_accepted
            else []
        )
        self._accused = [one for one in self._accused if one not in rest]
        for one in rest:
            one.piece.trail.spoil()
            self._agenda.confirm(one.piece)
        return bool(rest)

    def _refuses_everything(self, error: KooDriveError) -> KooDriveError:
        """Return the refusal with a text that says how much was tried in vain."""
        suspicion = self._agenda.suspicion
        where = "all over the input" if self._agenda.knows_all else "all over what was read of the source"
        tried = (
            f"{suspicion.strikes} requests in a row, {suspicion.samples} single ids from {where} among them"
        )
        return _explained(error, f"everything is refused alike: {tried}")

    # -- the end ----------------------------------------------------------------------------------

    async def conclude(self, ended: KooDriveError) -> None:
        """Settle the ids that are still accused or under way, by what is known of them.

        Args:
            ended: Why the call ended: the error of ids that were never sent.
        """
        suspicion, left = self._agenda.suspicion, list(self._agenda.left())
        accused, self._accused = self._accused, []
        gone = [one for one in accused if one.gone]
        in_vain = bool(gone) and not suspicion.ever_accepted and not self._agenda.single
        whole = not left and self._agenda.empty  # all of it was asked for
        if in_vain and whole and not suspicion.hopeless:
            self._fail(_all_gone(gone[-1]))
        for piece in left:  # what these were refused with was said of a whole request, or only for now
            says_nothing_of_ids(piece)
        believed = not suspicion.hopeless and not in_vain and (suspicion.ever_accepted or whole)
        await self._recorder.record(
            [
                (one.settlement if believed and one.confirmed else one.in_doubt(), one.piece.batch)
                for one in accused
            ]
        )
        asked = [piece for piece in left if piece.known or self._recorder.journal is None]
        await self._recorder.record([(piece.as_is(ended), piece.batch) for piece in asked])
        if 1 < self._gone_before == self._recorder.settled:
            say(
                logging.WARNING,
                "every one of %d ids was gone before this call: is this the right user, and the right list?",
                self._gone_before,
            )
        unsent = Settlement(Status.NOT_SENT, error=ended)
        for batch in (piece.batch for piece in left if piece not in asked):
            self._recorder.deliver(await self._recorder.known_at_last(batch, unsent), batch)


def _all_gone(one: Accused) -> KooDriveError:
    error = one.piece.trail.error
    assert error is not None
    return _explained(error, "every request was refused as if nothing existed")


def _explained(error: KooDriveError, what: str) -> KooDriveError:
    """Return a copy of the error whose message also says what its repetition means."""
    explained = copy.copy(error)
    if isinstance(explained, NotFound):
        what += "; either all of it is gone already, or the user id or the endpoint is wrong"
    if isinstance(explained, ApiError):
        explained.message = f"{explained.message} ({what})"
    return explained


def says_nothing_of_ids(piece: Piece) -> None:
    """Make a refusal of the whole request retryable: it was not about these ids."""
    if piece.trail.refused is not None:
        piece.trail.refused.retryable = True
