from __future__ import annotations

import copy
import json
import pickle
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koodrive_async.core.errors import (
    ApiError,
    AuthFailed,
    BadReply,
    CallEnded,
    CancelIncomplete,
    ConnectionLost,
    Forbidden,
    InvalidRequest,
    NotFound,
    ServerFault,
    Throttled,
)
from koodrive_async.core.models import ShareSubResponse
from koodrive_async.core.outcomes import UNSENT, Ended, Settlement, ShareOutcome, Status, unsettled
from koodrive_async.core.report import KEPT_FAILURES, CancelReport, CancelSummary, Outcomes, Tally
from tests.core.builders import TRACE, outcomes, report_of, reports

C, G, R, U, N = Status


def statuses(report):
    return [(outcome.share_id, outcome.status) for outcome in report.outcomes]


# -- one outcome ----------------------------------------------------------------------------------

LOST, REFUSED = ConnectionLost("lost"), Throttled("slow", code="APIG.0308")
LEFT = CallEnded("the stream's block was left before this could be sent")


@pytest.mark.parametrize(
    ("ambiguous", "refused", "error", "status", "blamed", "code"),
    [
        (False, None, None, N, LEFT, ""),
        (False, None, LOST, N, LOST, ""),
        (False, REFUSED, LOST, R, REFUSED, "APIG.0308"),
        (False, REFUSED, None, R, REFUSED, "APIG.0308"),
        (True, None, LOST, U, LOST, ""),
        (True, REFUSED, REFUSED, U, REFUSED, "APIG.0308"),
        (True, REFUSED, LOST, U, LOST, ""),
        (True, None, None, U, LEFT, ""),
    ],
)
def test_ambiguity_sticks_whatever_comes_after_it(ambiguous, refused, error, status, blamed, code):
    kept = unsettled(
        attempts=3, ambiguous=ambiguous, refused=refused, error=error, trace_id=TRACE, ended=LEFT
    )
    assert (kept.status, kept.error, kept.code) == (status, blamed, code)
    assert (kept.attempts, kept.trace_id, kept.answered) == (3, TRACE, False)


@pytest.mark.parametrize("ambiguous", [True, False])
def test_nothing_is_unsettled_without_a_reason(ambiguous):
    kept = unsettled(attempts=0, ambiguous=ambiguous, refused=None, error=None, trace_id="")
    for settlement in (kept, UNSENT):
        assert type(settlement.error) is CallEnded
        assert str(settlement.error) == "the call ended before a request with this id was sent"
        assert (settlement.retryable, settlement.refused) == (True, False)


@pytest.mark.parametrize("status", Status)
def test_an_outcome_is_ok_iff_its_share_is_cancelled_or_gone(status):
    assert ShareOutcome("a", status).ok is Settlement(status).well is (status in (C, G))


PASSING = ApiError("again")
PASSING.retryable = True


@pytest.mark.parametrize(
    ("status", "error", "retryable", "refused"),
    [
        (C, None, False, False),
        (G, None, False, False),
        (U, None, True, False),
        (U, LOST, True, False),
        (U, BadReply("what"), True, False),
        (U, ServerFault("down"), True, False),
        (U, Throttled("slow"), True, False),
        (U, AuthFailed("who"), True, False),
        (U, CallEnded("late"), True, False),
        (U, InvalidRequest("no"), True, True),
        (U, Forbidden("no"), True, True),
        (U, ApiError("not active any more"), True, True),
        (N, None, True, False),
        (N, NotFound("everything"), True, False),
        (R, None, False, False),
        (R, InvalidRequest("no"), False, False),
        (R, PASSING, True, True),
        (R, Throttled("slow"), True, False),
        (R, AuthFailed("who"), True, False),
    ],
)
def test_what_may_be_asked_again_and_what_of_it_was_refused(status, error, retryable, refused):
    settlement = Settlement(status, error=error)
    assert (settlement.retryable, settlement.refused) == (retryable, refused)
    report = CancelReport([ShareOutcome("a", status, error=error), ShareOutcome("b", U, error=LOST)])
    assert report.retryable_ids == (["b", "a"] if refused else ["a", "b"] if retryable else ["b"])
    assert CancelSummary(failures=tuple(report.outcomes)).retryable_ids == report.retryable_ids


@given(outcomes)
def test_an_outcome_is_a_settlement_and_an_id(outcome):
    assert outcome.settlement.of(outcome.share_id) == outcome
    assert (outcome.ok, outcome.to_dict()["retryable"]) == (
        outcome.settlement.well,
        outcome.settlement.retryable,
    )


def test_an_outcome_as_plain_data():
    late = CallEnded("the deadline passed")
    late.gave_up = Ended.DEADLINE
    told = ShareOutcome("a", U, "5", "no", 2, TRACE, error=late).to_dict()
    assert told == {
        "share_id": "a",
        "status": "unknown",
        "ok": False,
        "code": "5",
        "message": "no",
        "attempts": 2,
        "trace_id": TRACE,
        "retryable": True,
        "error": {"type": "CallEnded", "text": str(late), "gave_up": "deadline"},
    }
    assert json.loads(json.dumps(told)) == told
    assert ShareOutcome("a", C).to_dict()["error"] is None


# -- the monoid -----------------------------------------------------------------------------------


@given(reports)
def test_the_empty_report_is_neutral(report):
    assert CancelReport() + report == report == report + CancelReport()
    assert repr(CancelReport() + report) == repr(report) == repr(report + CancelReport())


@given(st.lists(reports, max_size=5))
def test_a_sum_is_complete_if_all_are_and_ended_as_the_first_that_did_not_end_by_itself(several):
    total = sum(several, CancelReport())
    assert total.complete is all(report.complete for report in several)
    assert total.ended == next((r.ended for r in several if r.ended is not Ended.EXHAUSTED), Ended.EXHAUSTED)
    assert total.unjournaled == sum(report.unjournaled for report in several)
    assert bool(total) is (total.complete and total.all_well)
    assert total.all_well is all(outcome.ok for outcome in total.outcomes)


@given(reports, reports, reports)
def test_merging_is_associative_in_all_that_a_report_has(a, b, c):
    left, right = (a + b) + c, a + (b + c)
    assert left == right
    for name in ("elapsed", "requests", "complete", "ended", "unjournaled"):
        assert getattr(left, name) == getattr(right, name)
    assert repr(left) == repr(right)


@given(st.lists(reports, max_size=5))
def test_any_number_of_reports_can_be_summed(several):
    total = sum(several, CancelReport())
    assert total.requests == sum(report.requests for report in several)
    assert total.elapsed == pytest.approx(sum(report.elapsed for report in several), abs=1e-8)
    assert {outcome.share_id for outcome in total.outcomes} == {
        outcome.share_id for report in several for outcome in report.outcomes
    }


@given(reports, reports)
def test_of_two_outcomes_the_surer_wins_and_the_first_of_two_alike_in_order_of_first_sight(a, b):
    merged = a + b
    seen: dict[str, list[ShareOutcome]] = {}
    for outcome in [*a.outcomes, *b.outcomes]:
        seen.setdefault(outcome.share_id, []).append(outcome)
    assert list(merged.outcomes) == [
        min(those, key=lambda o: list(Status).index(o.status)) for those in seen.values()
    ]


@given(st.lists(outcomes, max_size=12))
def test_a_report_of_outcomes_is_the_sum_of_the_reports_of_each(several):
    assert CancelReport(several) == sum((CancelReport([one]) for one in several), CancelReport())


@pytest.mark.parametrize("surer", range(5))
@pytest.mark.parametrize("less_sure", range(5))
def test_cancelled_is_surer_than_gone_than_rejected_than_unknown_than_not_sent(surer, less_sure):
    order = [C, G, R, U, N]
    merged = report_of(("a", order[less_sure])) + report_of(("a", order[surer]))
    assert statuses(merged) == [("a", order[min(surer, less_sure)])]


def test_only_reports_are_merged():
    with pytest.raises(TypeError):
        CancelReport() + 1  # type: ignore[operator]


def test_merging_changes_neither_part():
    a, b = report_of(("a", U), requests=1), report_of(("a", C), ("b", C), requests=2)
    assert statuses(a + b) == [("a", C), ("b", C)]
    assert (statuses(a), a.requests) == ([("a", U)], 1)
    assert (statuses(b), b.requests) == ([("a", C), ("b", C)], 2)


# -- views ----------------------------------------------------------------------------------------

MIXED = report_of(("a", C), ("b", G), ("c", R), ("d", U), ("e", N), ("f", C), requests=3, elapsed=1.5)


def test_a_report_counts_every_status():
    assert MIXED.counts == {C: 2, G: 1, R: 1, U: 1, N: 1}
    assert CancelReport().counts == dict.fromkeys(Status, 0)
    assert len(MIXED) == 6
    with pytest.raises(TypeError):
        MIXED.counts[C] = 7  # type: ignore[index]


def test_a_report_has_a_view_for_each_status():
    views = (MIXED.cancelled, MIXED.already_gone, MIXED.rejected, MIXED.unknown, MIXED.not_sent)
    assert [[outcome.share_id for outcome in view] for view in views] == [
        ["a", "f"],
        ["b"],
        ["c"],
        ["d"],
        ["e"],
    ]
    assert [{outcome.status for outcome in view} for view in views] == [{C}, {G}, {R}, {U}, {N}]


@given(reports)
def test_the_views_are_all_of_it(report):
    views = (report.cancelled, report.already_gone, report.rejected, report.unknown, report.not_sent)
    assert sorted(o.share_id for view in views for o in view) == sorted(o.share_id for o in report.outcomes)
    assert list(report.counts.values()) == [len(view) for view in views]


@given(reports, st.slices(8))
def test_a_view_is_a_sequence(report, piece):
    view, plain = report.outcomes, list(report.outcomes)
    assert view == plain
    assert list(view[piece]) == plain[piece]
    assert view[piece][piece] == plain[piece][piece]
    assert [view[n] for n in range(-len(view), len(view))] == plain * 2
    with pytest.raises(IndexError):
        view[len(view)]


def test_a_view_equals_what_holds_the_same_and_nothing_else():
    assert MIXED.cancelled == (ShareOutcome("a", C), ShareOutcome("f", C))
    assert MIXED.cancelled != MIXED.rejected
    assert MIXED.cancelled != "af"
    assert MIXED.cancelled != {ShareOutcome("a", C)}
    assert CancelReport().outcomes == []


def test_a_view_shows_its_beginning():
    assert repr(CancelReport().outcomes) == "[]"
    assert repr(MIXED.cancelled) == repr(list(MIXED.cancelled))
    assert repr(MIXED.outcomes).endswith(", … 3 more]")
    assert "'d'" not in repr(MIXED.outcomes)


def test_neither_a_report_nor_a_view_is_hashable_since_errors_have_no_value():
    for thing in (MIXED, MIXED.outcomes):
        with pytest.raises(TypeError):
            hash(thing)


def test_sub_responses_are_what_the_service_answered_for_ids_it_named():
    answered = Settlement(C, code="0", message="Success.", answered=True)
    refused = Settlement(R, code="13000410", message="no permission", answered=True)
    whole = Settlement(R, code="13000102", message="bad", error=InvalidRequest("bad", status=400))
    report = CancelReport.of_columns(
        list("abcd"), [answered, refused, whole, UNSENT], requests=1, elapsed=0.1
    )
    assert report.sub_responses == [
        ShareSubResponse("a", "0", "Success."),
        ShareSubResponse("b", "13000410", "no permission"),
    ]
    assert (CancelReport() + report).sub_responses == report.sub_responses


def test_a_report_made_of_another_s_outcomes_puts_no_words_into_the_service_s_mouth():
    """The gateway's refusal of everything is no answer for an id, however the report came about."""
    closed = Throttled("slow down", status=429, code="APIG.0308")
    unsent = unsettled(attempts=0, ambiguous=False, refused=None, error=closed, trace_id="")
    refused = unsettled(attempts=1, ambiguous=False, refused=closed, error=closed, trace_id=TRACE)
    report = CancelReport.of_columns(["a", "b"], [unsent, refused], requests=1, elapsed=0.0)
    assert report.sub_responses == []
    assert CancelReport(report.outcomes).sub_responses == []


@pytest.mark.parametrize(
    ("counted", "well"),
    [([], True), ([C], True), ([G], True), ([C, G], True), ([C, R], False), ([U], False), ([N], False)],
)
def test_a_report_is_true_iff_every_share_is_cancelled_or_gone(counted, well):
    parts = [(str(n), status) for n, status in enumerate(counted)]
    tally = Tally()
    for n, status in enumerate(counted):
        tally.add([str(n)], Settlement(status))
    for complete in (True, False):
        for made in (
            report_of(*parts, complete=complete),
            tally.summary(requests=1, elapsed=0.1, complete=complete),
        ):
            assert made.all_well is well
            assert bool(made) is (well and complete)
            if well and complete:
                made.raise_for_failures()
            else:
                with pytest.raises(CancelIncomplete) as caught:
                    made.raise_for_failures()
                assert caught.value.report is made
                assert ("the source was not read to its end" in str(caught.value)) is not complete


@pytest.mark.parametrize("ended", Ended)
def test_a_report_that_was_ended_says_how(ended):
    report = report_of(("a", C), ended=ended, complete=False)
    assert bool(report_of(("a", C), ended=ended))  # why it ended says nothing of what was settled
    for made in (report, Tally().summary(ended=ended, complete=False)):
        assert (f", ended={ended.value}" in repr(made)) is (ended is not Ended.EXHAUSTED)
        assert repr(made).endswith(", complete=False)")
    assert report != report_of(("a", C), ended=ended)
    assert report == pickle.loads(pickle.dumps(report))
    assert report != report_of(("a", C), ended=ended, complete=False, unjournaled=1)


@given(reports)
def test_a_report_and_a_summary_as_plain_data(report):
    tally = Tally(keep=3)
    for outcome in report.outcomes:
        tally.add([outcome.share_id], outcome.settlement)
    details = {
        name: getattr(report, name) for name in ("requests", "elapsed", "complete", "ended", "unjournaled")
    }
    summary = tally.summary(**details)
    head = {
        "version": 1,
        "ok": bool(report),
        "all_well": report.all_well,
        "counts": {str(status): count for status, count in report.counts.items()},
        **details,
    }
    failures = [outcome.to_dict() for outcome in report.outcomes if not outcome.ok]
    for made, expected in (
        (report, head | {"outcomes": [outcome.to_dict() for outcome in report.outcomes]}),
        (
            summary,
            head
            | {
                "failures": failures[:3],
                "failures_truncated": len(failures) > 3,
                "retryable_ids": list(summary.retryable_ids),
                "retryable_truncated": summary.retryable_truncated,
            },
        ),
    ):
        assert made.to_dict() == expected
        assert json.loads(json.dumps(made.to_dict())) == expected
        assert pickle.loads(pickle.dumps(made)).to_dict() == expected


def test_what_is_refused_is_asked_again_last_in_the_order_of_first_sight():
    refused = InvalidRequest("no", code="5")
    report = CancelReport(
        [
            ShareOutcome("a", U, error=refused),
            ShareOutcome("b", N, error=LEFT),
            ShareOutcome("c", C),
            ShareOutcome("d", U, error=refused),
            ShareOutcome("e", R, error=refused),
            ShareOutcome("f", U, error=LOST),
            ShareOutcome("g", R, error=REFUSED),
        ]
    )
    assert report.retryable_ids == ["b", "f", "g", "a", "d"]


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda report: pickle.loads(pickle.dumps(report))]
)
def test_a_report_pickles_and_copies(duplicate):
    assert duplicate(MIXED) == MIXED
    twin = duplicate(MIXED)
    assert (twin.elapsed, twin.requests, twin.complete, twin.ended) == (1.5, 3, True, Ended.EXHAUSTED)
    lost = CancelReport([ShareOutcome("a", U, error=ConnectionLost("lost", trace_id=TRACE))])
    assert str(duplicate(lost).outcomes[0].error) == str(lost.outcomes[0].error)


def test_a_report_shows_what_counts():
    assert repr(MIXED).startswith(
        "CancelReport(cancelled=2, already_gone=1, rejected=1, unknown=1, not_sent=1, "
    )
    assert repr(CancelReport()) == "CancelReport(empty, requests=0, elapsed=0.000)"
    assert repr(MIXED) != MIXED
    assert report_of(requests=1) != report_of(requests=2)
    assert report_of(elapsed=0.1) != report_of(elapsed=0.2)


def test_a_report_costs_little_more_than_its_ids():
    ids = [str(10**18 + n) for n in range(100_000)]
    tracemalloc.start()
    try:
        settlements: list[Settlement] = []
        for n in range(0, len(ids), 100):
            settlements += [Settlement(C, "0", "Success.", 1, f"{n:058}", answered=True)] * 100
        report = CancelReport.of_columns(ids, settlements, requests=1_000, elapsed=9.0)
        assert report
        assert report.counts[C] == sum(1 for _ in report.outcomes) == len(ids)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept <= 40 * len(ids)
    assert peak <= 60 * len(ids)


# -- what a stream keeps --------------------------------------------------------------------------


def test_a_tally_counts_everything_and_keeps_the_first_failures():
    tally = Tally(keep=3)
    tally.add(["a", "b"], Settlement(C))
    tally.add(["c", "d"], Settlement(U))
    tally.add(["e", "f"], Settlement(R))
    tally.add(["g"], Settlement(G))
    tally.add(["h"], Settlement(N))
    summary = tally.summary(requests=5, elapsed=0.5)
    assert summary.counts == {C: 2, G: 1, R: 2, U: 2, N: 1}
    assert [failure.share_id for failure in summary.failures] == ["c", "d", "e"]
    assert (summary.failures_truncated, summary.retryable_truncated) == (True, True)
    assert summary.retryable_ids == ["c", "d"]
    assert (summary.requests, summary.elapsed) == (5, 0.5)


def test_a_tally_that_kept_them_all_says_so():
    tally = Tally(keep=3)
    tally.add(["a", "b"], Settlement(C))
    tally.add(["c", "d", "e"], Settlement(U))
    summary = tally.summary()
    assert (summary.failures_truncated, summary.retryable_truncated) == (False, False)
    assert summary.retryable_ids == ["c", "d", "e"]


def test_a_tally_of_a_million_failures_keeps_a_thousand():
    tally = Tally()
    for _ in range(10_000):
        tally.add(["a"] * 100, UNSENT)
    assert tally.counts[N] == 1_000_000
    assert len(tally.failures) == KEPT_FAILURES == 1_000


def test_a_summary_is_of_its_moment_and_pickles():
    tally = Tally()
    before = tally.summary(requests=0, elapsed=0.0)
    tally.add(["a"], UNSENT)
    after = tally.summary(requests=1, elapsed=0.1)
    assert before == CancelSummary()
    assert (sum(before.counts.values()), before.failures) == (0, ())
    assert (after.counts[N], after.failures) == (1, (ShareOutcome("a", N, error=UNSENT.error),))
    assert copy.deepcopy(before) == pickle.loads(pickle.dumps(before)) == before != after
    for twin in (pickle.loads(pickle.dumps(after)), copy.deepcopy(after)):  # errors have no value
        assert twin.to_dict() == after.to_dict()
        assert repr(twin) == repr(after)


def test_outcomes_can_be_looked_at_in_any_order():
    ids, kept = ["a", "b", "c"], [Settlement(C), Settlement(U), UNSENT]
    assert [outcome.share_id for outcome in Outcomes(ids, kept, [2, 0])] == ["c", "a"]
