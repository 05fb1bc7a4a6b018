from __future__ import annotations

import copy
import pickle
import re
import traceback

import pytest

from koodrive_async.core import errors
from koodrive_async.core.errors import ApiError, CancelIncomplete, KooDriveError
from koodrive_async.core.outcomes import ShareOutcome, Status
from koodrive_async.core.report import CancelReport, CancelSummary
from tests.core.builders import ERRORS, TRACE, full_error, report_of


def drawn():
    """Class -> (parent, other bases) as the module's docstring draws it."""
    tree, path = {}, []
    for line in errors.__doc__.splitlines():
        found = re.match(r"(?:[├└│─ ]*[├└]─ |(?=KooDriveError$))(\w+)(?:\((\w+)\))?", line)
        if found:
            depth = (found.start(1) + 1) // 4
            path[depth:] = [found[1]]
            tree[found[1]] = [*path[-2:-1], *filter(None, [found[2]])]
    return tree


def test_the_tree_is_as_drawn():
    assert drawn() == {
        cls.__name__: [base.__name__ for base in cls.__bases__ if base is not Exception] for cls in ERRORS
    }


@pytest.mark.parametrize("cls", ERRORS)
@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy]
    + [
        lambda error, p=p: pickle.loads(pickle.dumps(error, p)) for p in range(2, pickle.HIGHEST_PROTOCOL + 1)
    ],
)
def test_every_error_pickles_and_copies_with_all_it_has(cls, duplicate):
    error = full_error(cls)
    twin = duplicate(error)
    assert type(twin) is cls
    assert vars(twin) == vars(error)
    assert twin.args == error.args
    assert str(twin) == str(error)


@pytest.mark.parametrize("cls", ERRORS)
def test_an_error_that_is_part_of_its_own_report_pickles(cls):
    error = cls()
    error.report = CancelReport([ShareOutcome("a", Status.UNKNOWN, error=error)])
    twin = pickle.loads(pickle.dumps(error))
    assert twin.report.outcomes[0].error is twin


def test_every_error_can_be_made_of_nothing_and_says_something():
    assert not [cls for cls in ERRORS if not str(cls())]


@pytest.mark.parametrize("cls", ERRORS)
def test_an_error_says_what_one_asks_first(cls):
    text = str(full_error(cls))
    assert f"(gave up: budget, attempts: 3, the service may have acted, trace id: {TRACE})" in text or (
        cls is CancelIncomplete and text.endswith("(gave up: budget, the service may have acted)")
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ApiError("no", status=400, code="13000102"), "HTTP 400 13000102: no"),
        (ApiError("no", code="13000102"), "13000102: no"),
        (ApiError("no"), "no"),
        (ApiError(), "ApiError"),
        (KooDriveError("once", attempts=1), "once"),
        (errors.BadReply("odd", body="<p>"), "odd: '<p>'"),
        (
            CancelIncomplete(report_of(("a", Status.REJECTED))),
            "not everything was cancelled: CancelReport(rejected=1,",
        ),
        (CancelIncomplete(CancelSummary()), "not everything was cancelled: CancelSummary("),
    ],
)
def test_texts(error, text):
    assert str(error).startswith(text)


def test_a_caller_s_mistake_is_a_value_error_and_nothing_else_is():
    assert {cls for cls in ERRORS if issubclass(cls, ValueError)} == {
        cls for cls in ERRORS if issubclass(cls, errors.UsageError)
    }


def test_a_detached_error_keeps_no_frame_alive():
    with pytest.raises(errors.ConnectionLost) as caught:
        raise errors.ConnectionLost("lost") from OSError()
    assert caught.value.__traceback__
    assert caught.value.__cause__
    kept = caught.value.detached()
    assert (kept.__traceback__, kept.__cause__, kept.__context__) == (None, None, None)
    assert traceback.format_exception(kept) == ["koodrive_async.core.errors.ConnectionLost: lost\n"]


def test_asking_again_could_help_after_what_passes_and_not_after_what_stays():
    assert {cls.__name__ for cls in ERRORS if cls.retryable} == {
        *("TransportFailure", "ConnectFailed", "AttemptTimeout", "ConnectionLost"),
        *("AuthFailed", "ClockSkewed", "Forbidden", "Throttled", "ServerFault", "BadReply"),
        *("MalformedItemFound", "TaskNotDone", "UnexpectedCancellation", "CallEnded"),
    }
