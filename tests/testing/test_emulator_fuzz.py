"""Whatever a request holds, the service answers; nothing inside breaks."""

import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koodrive_async.testing import Emulator, RequestSeen
from koodrive_async.testing.operations import ALL

# fmt: off
FIELDS = [
    "shareIds", "scope", "fileIds", "containerId", "validDays", "extractCode", "comment",
    "expireTime", "userIds", "deptIds", "groupIds", "phoneNumbers", "shortUrl", "parentFolder",
    "pageSize", "pageCursor", "sortType", "sortDirection", "kdstoken", "refreshCount", "fileName",
    "shareId", "fileId", "taskType", "targetFileId", "taskId", "account", "authType", "password",
    "captchaToken", "refreshToken",
]
# fmt: on
EMULATORS = {
    edition: Emulator(shares=20, received=5, edition=edition) for edition in ("enterprise", "carrier")
}
KNOWN = [
    *EMULATORS["carrier"].share_ids,
    *EMULATORS["carrier"].received_ids,
    *(EMULATORS["carrier"].share(share_id).short_url for share_id in EMULATORS["carrier"].share_ids),
    "0",
    "after-3",
    "1",
    "\ud800",
    "2025-05-27 01:37:49",
    "0001-01-01T00:00:00+14:00",
    "2025-05-29T02:00:39",
]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, 5),
    st.integers(),
    st.floats(allow_nan=False),
    st.sampled_from(KNOWN),
    st.text(max_size=9),
)
values = st.one_of(
    scalars, st.lists(scalars, max_size=4), st.dictionaries(st.text(max_size=5), scalars, max_size=3)
)
bodies = st.one_of(values, st.dictionaries(st.sampled_from(FIELDS), values, max_size=len(FIELDS)))


@pytest.mark.parametrize("edition", ["enterprise", "carrier"])
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_request_breaks_the_service(edition, data):
    emulator = EMULATORS[edition]
    operation = data.draw(st.sampled_from([one for one in ALL if edition in one.editions]))
    query = data.draw(
        st.one_of(
            st.just(""),
            st.sampled_from(["shortUrl=1", "pageSize=3&pageCursor=4"]),
            st.text("a=&%+3", max_size=9),
        )
    )
    date = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%dT%H%M%SZ").encode()
    headers = [(b"x-hw-agentname", b"demo-carrier"), (b"x-session-id", b"demo-session"), (b"host", b"h")]
    if "public" not in operation.path:
        headers += [
            (b"authorization", b"demo-token"),
            (b"x-date", date),
            (b"x-user-id", emulator.user_id.encode()),
        ]
    body = json.dumps(data.draw(bodies)).encode()
    seen = RequestSeen(1, operation.name, operation.method, f"/x?{query}", headers, body, time.time(), 0.0)
    params = {name: data.draw(st.sampled_from(KNOWN)) for name in ("shareId", "fileId")}
    answer = emulator.handle(operation, seen, params)
    assert answer.status in {200, 400, 401, 403}
    assert answer.body
