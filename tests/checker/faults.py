"""Faults of the past, each as a small text to put back: what promises were once broken by."""

import attrs


@attrs.frozen
class Patch:
    """One text of one file of the package (a path below `koodrive_async`), and what stands there instead."""

    file: str
    old: str
    new: str


@attrs.frozen
class Fault:
    """A fault of the past: the topic that brings it out, and how the checker puts it.

    `patches` bring it back.
    """

    point: int
    name: str
    topic: str
    says: str
    patches: tuple[Patch, ...]
    histories: int = 200

    def __str__(self) -> str:
        return f"{self.point} {self.name}"


FAULTS = (
    # Point 0: what the promise rests on since it was made.
    Fault(
        0,
        "ambiguity does not stick",
        "storm",
        r"(NOT_SENT|REJECTED), but request \d+",
        (
            Patch(
                "core/outcomes.py",
                "    if ambiguous:\n        status, error = Status.UNKNOWN, error or ended\n",
                "    if ():\n        pass\n",
            ),
        ),
    ),
    Fault(
        0,
        "an id left out counts as cancelled",
        "storm",
        "CANCELLED, but",
        (Patch("core/pairing.py", '[(None, "") if sub is None else', '[("0", "") if sub is None else'),),
    ),
    Fault(
        0,
        "leaving is not noted",
        "storm",
        "NOT_SENT, but",
        (Patch("shell/departure.py", "return self._assumed or self.heads > 0", "return False"),),
    ),
    # Point 1: cancellations that nobody asked for.
    Fault(
        1,
        "a source's ends the job",
        "strays",
        "ended without an error, but its source",
        (
            Patch(
                "shell/supply.py",
                "            self.failure = unexpected(_source(source))",
                "            self._ended = True",
            ),
        ),
    ),
    Fault(
        1,
        "half the source makes a true report",
        "strays",
        r"True in a condition, but 0 failed and \d+ of",
        (
            Patch(
                "core/report.py",
                "return self.complete and self.all_well\n\n    def __len__",
                "return self.all_well\n\n    def __len__",
            ),
            Patch(
                "core/report.py",
                "return self.complete and self.all_well\n\n    def __repr__",
                "return self.all_well\n\n    def __repr__",
            ),
        ),
    ),
    Fault(
        1,
        "a middleware's ends the job",
        "strays",
        "but the caller's own code did not",
        (
            Patch("shell/sender.py", "raise unexpected(self._culprit()) from None", "raise"),
            Patch(
                "shell/bulk.py",
                'self._fail(unexpected("a task of this call"))',
                "pass",
            ),
        ),
    ),
    Fault(
        1,
        "a middleware's is not named",
        "strays",
        "does not name the middleware",
        (Patch("shell/sender.py", "raise unexpected(self._culprit()) from None", "raise"),),
    ),
    Fault(
        1,
        "a hook's ends the job",
        "strays",
        "and nothing went wrong",
        (Patch("shell/hooks.py", "(Exception, anyio.get_cancelled_exc_class())", "Exception"),),
    ),
    # Point 2: refusals after a lost reply.
    Fault(
        2,
        "in a list they are final",
        "after",
        r"REJECTED, but request \d+ carried it out",
        (
            Patch(
                "core/pairing.py",
                "Status.UNKNOWN if asked.ambiguous else Status.REJECTED",
                "Status.REJECTED",
            ),
        ),
    ),
    Fault(
        2,
        "of the whole request they are final",
        "after",
        r"REJECTED, but request \d+ carried it out",
        (
            Patch(
                "shell/replies.py",
                "elif gone or (piece.trail.ambiguous and",
                "elif gone or (False and",
            ),
        ),
    ),
    Fault(
        2,
        "those that come twice are final unasked",
        "after",
        r"REJECTED, but request \d+ carried it out",
        (Patch("shell/bulk.py", "if journal.settles_repeated_refusals:", "if True:"),),
    ),
    Fault(
        2,
        "those that come twice are never final",
        "after",
        "refused as in the call before",
        (Patch("shell/bulk.py", "if journal.settles_repeated_refusals:", "if False:"),),
    ),
    Fault(
        2,
        "they are asked again first",
        "lists",
        "behind ids that were refused",
        (Patch("core/report.py", "return first + last", "return last + first"),),
    ),
    # Point 3: what left once has left.
    Fault(
        3,
        "what a middleware sent first is forgotten",
        "twice",
        r"NOT_SENT, but request \d+ had it",
        (
            Patch(
                "shell/transport.py",
                "others = Sent.MAYBE if departure.left_besides(sending) else Sent.NO",
                "others = Sent.NO",
            ),
            Patch(
                "shell/sender.py",
                "verdict.ambiguous or doubtful or repeated",
                "verdict.ambiguous or repeated",
            ),
        ),
    ),
    Fault(
        3,
        "the last send of a middleware decides",
        "twice",
        r"REJECTED, but request \d+ carried it out",
        (
            Patch(
                "shell/sender.py",
                "verdict.ambiguous or doubtful or repeated",
                "verdict.ambiguous or repeated",
            ),
        ),
    ),
    Fault(
        3,
        "a middleware that answers by itself has sent",
        "tokens",
        "UNKNOWN, but nothing with it was ever sent",
        (Patch("shell/sender.py", "return attrs.evolve(verdict, ambiguous=False)", "return verdict"),),
    ),
    Fault(
        3,
        "the last try of a lent client decides",
        "twice",
        r"NOT_SENT, but request \d+ had it",
        (
            Patch(
                "shell/departure.py",
                "            self._assumed = False",
                "            self._assumed, self.heads = False, 0",
            ),
        ),
    ),
    Fault(
        3,
        "a lent client never sends again by itself",
        "twice",
        r"REJECTED, but request \d+ carried it out",
        (Patch("shell/departure.py", "sending.heads > 1 and not sending.exclusive", "False"),),
    ),
    # Point 4: answers of another request.
    Fault(
        4,
        "leftovers on a connection settle",
        "crossing",
        "CANCELLED, but nothing|REJECTED, but|ALREADY_GONE, but",
        (Patch("shell/slots.py", " and slot.is_silent()", ""),),
    ),
    Fault(
        4,
        "a stray gone settles",
        "crossing",
        "ALREADY_GONE, but",
        (Patch("shell/replies.py", "twice = gone or not self", "twice = not self"),),
    ),
    Fault(
        4,
        "a lent client's nameless list settles",
        "lists",
        "CANCELLED, but no reply that holds said so",
        (Patch("core/pairing.py", "elif asked.exclusive or not _nameless(subs):", "elif True:"),),
    ),
    Fault(
        4,
        "a lent client's incomplete list settles",
        "lists",
        "CANCELLED, but no reply that holds said so",
        (Patch("core/pairing.py", "if missing and not asked.exclusive:", "if False:"),),
    ),
    Fault(
        4,
        "a lent client's nameless gone settles",
        "gone",
        "ALREADY_GONE, but no reply that holds said so",
        (Patch("shell/replies.py", "if gone and self._caller.sender.wire.exclusive:", "if gone:"),),
    ),
    # Point 5: contradictions.
    Fault(
        5,
        "the first of two answers counts",
        "lists",
        "CANCELLED, but nothing was carried out",
        (Patch("core/pairing.py", "                disputed.add(name)", "                pass"),),
    ),
    Fault(
        5,
        "position counts beside other names",
        "lists",
        r"(REJECTED|CANCELLED|ALREADY_GONE), but",
        (Patch("core/pairing.py", "if not any(named):", "if True:"),),
    ),
    Fault(
        5,
        "a list in a 5xx counts",
        "lists",
        "CANCELLED, but nothing was carried out",
        (Patch("core/verdict.py", "if listed and (ok or reply.status == _PARTIAL_FAILURE):", "if listed:"),),
    ),
    Fault(
        5,
        "zeros beside a failure count",
        "lists",
        "CANCELLED, but nothing was carried out",
        (Patch("core/verdict.py", "if failed and only_successes(envelope.data):", "if False:"),),
    ),
    # Point 6: nothing is ever accepted.
    Fault(
        6,
        "gone for everything reads as success",
        "gone",
        "ALREADY_GONE, but the share is there",
        (
            Patch(
                "shell/replies.py",
                "in_vain = bool(gone) and not suspicion.ever_accepted and not self._agenda.single",
                "in_vain = False",
            ),
        ),
    ),
    Fault(
        6,
        "gone for everything is noticed late",
        "gone",
        "requests, and nothing was ever accepted",
        (Patch("core/suspicion.py", "HOPELESS = CROSS_CHECK + SAMPLES", "HOPELESS = 3 * SAMPLES"),),
    ),
    # Point 7: a deadline that passes while the source is read.
    Fault(
        7,
        "cancel() makes a true report of it",
        "limits",
        r"True in a condition, but 0 failed and \d",
        (Patch("shell/stream.py", "        complete = False\n", "        complete = True\n"),),
    ),
    Fault(
        7,
        "open_cancel() makes a true report of it",
        "limits",
        r"True in a condition, but 0 failed and \d",
        (Patch("shell/supply.py", "return self._ended", "return self._over"),),
    ),
    # Point 8: outcomes without a reason.
    Fault(
        8,
        "no reason given",
        "limits",
        "NOT_SENT with error None",
        (
            Patch(
                "shell/bulk.py",
                "Settlement(Status.NOT_SENT, error=ended)",
                "Settlement(Status.NOT_SENT)",
            ),
        ),
    ),
    Fault(
        8,
        "another reason given",
        "limits",
        "NOT_SENT because of .stopped., which was not so",
        (Patch("shell/bulk.py", "gave_up = reason or Ended.LEFT", "gave_up = Ended.STOPPED"),),
    ),
    Fault(
        8,
        "a dead endpoint is an outcome",
        "dead",
        "returned, but nothing was ever answered",
        (Patch("shell/bulk.py", "self.failure = self._replies.last_transient", "pass"),),
    ),
    # Point 9: odd statuses.
    Fault(
        9,
        "2xx other than 200 are refusals",
        "statuses",
        r"REJECTED, but request \d+ carried it out",
        (Patch("core/verdict.py", "if batched and 200 < reply.status < 300:", "if False:"),),
    ),
    Fault(
        9,
        "statuses below 200 are refusals",
        "statuses",
        r"REJECTED, but request \d+ carried it out",
        (
            Patch(
                "core/verdict.py",
                "if reply.status < 200:",
                "if False:",
            ),
        ),
    ),
)
