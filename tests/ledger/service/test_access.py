"""Three levels, and what is not said is for members."""

import pytest
from consortium_simulator import Consortium

from ledger.merkle import leaf_hash
from ledger.service.access import MEMBERS, PARTIES, PUBLIC, NotAllowed, entry_for, level_of, require_member


@pytest.mark.parametrize(
    ("payload", "level"),
    [
        ({}, MEMBERS),
        ({"acl": "members"}, MEMBERS),
        ({"acl": "public"}, PUBLIC),
        ({"acl": "parties"}, PARTIES),
        ({"acl": "Public"}, PARTIES),
        ({"acl": None}, PARTIES),
    ],
)
def test_the_level_of_a_record(payload: dict[str, object], level: str) -> None:
    assert level_of(payload) == level


def test_who_sees_what() -> None:
    made = Consortium()
    fields = {"subject": "s", "artifact": made.hash()}
    body = {"acl": "parties", "body_sha256": made.hash()}
    public, private = made.statement("attest", "firm-0", acl="public", **fields), made.statement("attest", **fields)
    for raw in (public, private, made.statement("attest", "firm-0", **fields, **body), b"no statement"):
        assert entry_for(raw, "firm-1").statement == raw
        seen = entry_for(raw, None)
        if raw is public:
            assert (seen.statement, seen.leaf_hash) == (raw, b"")
        else:
            assert (seen.statement, seen.leaf_hash) == (b"", leaf_hash(raw))


def test_some_things_are_for_members() -> None:
    assert require_member("firm-0", "this") == "firm-0"
    with pytest.raises(NotAllowed, match="this is for members"):
        require_member(None, "this")
