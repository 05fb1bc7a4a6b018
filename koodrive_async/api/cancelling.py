"""*Shared by You*, the clean-up: cancel any number of shares. Refuses to pair and to retry (``bulk``)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from koodrive_async.api.base import Api, OnProgress, Shares
from koodrive_async.core import inputs, operations
from koodrive_async.core.batching import BATCH_SIZE, check_share_id, refuse_single
from koodrive_async.core.codec import read_cancel_reply
from koodrive_async.core.errors import InvalidShareId
from koodrive_async.core.models import CancelReply
from koodrive_async.core.report import CancelReport
from koodrive_async.shell.drain import GRACE
from koodrive_async.shell.journal import Journal
from koodrive_async.shell.stream import CancelStream


class Cancelling(Api):
    """Cancel shares."""

    async def cancel(
        self,
        share_ids: Shares,
        *,
        deadline: float | None = None,
        grace: float = GRACE,
        journal: Journal | None = None,
        on_progress: OnProgress | None = None,
    ) -> CancelReport:
        """Cancel any number of shares (page batchCancel.html); every distinct id gets one outcome.

        All ids are read and checked before the first request. Batches of at most 100 go concurrently.
        Cancelling the task that awaits this does not abort what is being sent: it returns late, by the
        grace at most; to know what landed then, use `open_cancel` or a journal.

        Args:
            share_ids: Ids, as an iterable or async iterable; not one ``str``. Repeated ids are sent once.
                Or what `find_shares` or `list_my_shares` returns: its shares, listed to the end first.
            deadline: Seconds after which nothing new begins; what is left then is NOT_SENT.
            grace: Seconds that requests under way may run on after the deadline or a cancellation.
            journal: Remembers on disk what was settled: run the same line again after a crash, and only
                the rest is sent.
            on_progress: Called with a `Progress` a few times per second, and at the end.

        Returns:
            A report with an outcome for each distinct id, in order of first sight.

        Raises:
            InvalidShareId: An id that can't be one; nothing was sent.
            AuthFailed: The credentials were refused; ``.report`` is complete, as for all below.
            Forbidden: They may not do this.
            InvalidRequest: Everything is refused, whatever the ids.
            Throttled: The service asks to wait longer than the patience.
            TransportFailure: The service stayed unreachable for the patience.
            ServerFault: It kept failing for the patience.
            JournalFailed: The journal can't be used; nothing more was sent.
            ClientClosed: The client was closed before or meanwhile.
            WrongEventLoop: Called from another event loop than before.
        """
        job = self._job(operations.BATCH_CANCEL, deadline, grace, journal, on_progress)
        return await self._settle(job, share_ids)

    def open_cancel(
        self,
        share_ids: Shares,
        *,
        deadline: float | None = None,
        grace: float = GRACE,
        journal: Journal | None = None,
        on_progress: OnProgress | None = None,
    ) -> AbstractAsyncContextManager[CancelStream]:
        """Cancel shares as their ids are read and their outcomes taken; memory stays flat.

        Reads at most (concurrency + 1) x 100 ids ahead of the consumer, and sends an id twice only if it
        comes again later than that.

        Args:
            share_ids: As for `cancel`; read lazily. But a list of shares is read to its end before the
                first id goes, since cancelling while listing may skip shares; its ids wait in a
                temporary file, not in memory.
            deadline: As for `cancel`.
            grace: As for `cancel`; also when the block is left early.
            journal: As for `cancel`.
            on_progress: As for `cancel`.

        Returns:
            A context manager; its stream has ``async for outcome in stream``, ``.report``, ``.progress``
            and ``.stop()``. Raises `KooDriveError` as `cancel` does, and the source's own errors, out
            of the iteration, after the outcomes already owed.
        """
        job = self._job(operations.BATCH_CANCEL, deadline, grace, journal, on_progress)
        return self._open(job, share_ids)

    async def cancel_batch(self, share_ids: Sequence[str]) -> CancelReply:
        """One request's worth of ids, as one logical call (page batchCancel.html): the primitive.

        Args:
            share_ids: 1..100 ids, sent as they are.

        Returns:
            The service's reply; its sub-responses may lack ids, name others, or fail one by one.

        Raises:
            UsageError: No ids, more than 100, or one that can't be an id; nothing was sent.
            KooDriveError: The last error, when no reply could be had; ``.ambiguous`` says whether the
                service may have acted.
        """
        refuse_single(share_ids)
        ids = [check_share_id(share_id, place) for place, share_id in enumerate(share_ids)]
        if not 1 <= len(ids) <= BATCH_SIZE:
            raise InvalidShareId(f"a batch has 1..{BATCH_SIZE} ids, not {len(ids)}")
        return await self._call(operations.BATCH_CANCEL, read_cancel_reply, body=inputs.body(share_ids=ids))
