"""Access codes, tokens and addresses of the new operations: in no text of ours, whatever a reply echoes."""

import json
import logging
import pickle

import pytest

from koodrive_async import KooDriveError
from koodrive_async.testing import Body, Status
from tests.api.calls import CODE, ROWS, TOKEN
from tests.api.conftest import client_of

SECRETS = [
    row for row in ROWS if row.body and {CODE, TOKEN} & {v for v in row.body.values() if isinstance(v, str)}
]


@pytest.mark.parametrize("row", SECRETS, ids=str)
@pytest.mark.parametrize("status", [200, 400, 500])
async def test_what_a_reply_echoes_is_not_repeated(row, status, make_koodrive, caplog):
    emulator = make_koodrive(edition="carrier")
    text = f"wrong code {CODE} or token {TOKEN}"
    emulator.inject(lambda _seen: Status(status, json.dumps({"code": 13000102, "msg": text}).encode()))
    with caplog.at_level(logging.DEBUG, logger="koodrive_async"):
        async with client_of(emulator) as client:
            with pytest.raises(KooDriveError) as caught:
                await row.call(client)
    error = pickle.loads(pickle.dumps(caught.value))
    assert "wrong code" in str(error)
    for secret in (secret for secret in (CODE, TOKEN) if secret in row.body.values()):
        for place in (str(error), repr(vars(error)), caplog.text):
            assert secret not in place


@pytest.mark.parametrize(
    "body",
    [
        b'{"code":0,"downloadUrl":"https://obs.example/F1?AccessKeyId=s3cret1&Signature=s3cret2',
        b'{"kdstoken": "s3cret1',
        b'{"extractCode":"s3cret1","ownerMobile":"s3cret2"',
        b'{"accessToken":"AT s3cret1","refreshToken":"s3cret2"',
        b'{"downloadLinks":"https://obs.example/s3cret1"',
    ],
)
async def test_a_reply_cut_short_shows_none_either(body, make_koodrive):
    emulator = make_koodrive(edition="carrier")
    emulator.inject(lambda _seen: Body(body))
    async with client_of(emulator) as client:
        with pytest.raises(KooDriveError) as caught:
            await client.get_share_info("1")
    assert "s3cret" not in str(caught.value) + repr(caught.value) + repr(vars(caught.value))
    assert "***" in caught.value.body
