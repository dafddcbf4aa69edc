"""The join client sends what the table names, the desk reads nothing else, and nothing in it comes from a table."""

import pytest

from clients.enrolment import enrolment_pb2 as pb
from clients.enrolment.errors import BadConsortium
from clients.enrolment.sent import SENT, require_grounds
from server.enrolment.desk import JOIN_FIELDS


def test_the_desk_reads_what_may_be_sent_and_no_more() -> None:
    assert SENT["Join"].keys() == JOIN_FIELDS.keys()
    methods = {one.name for one in pb.DESCRIPTOR.services_by_name["Enrolment"].methods}
    assert methods == SENT.keys() | {"Terms"}
    messages = {name: set(one.fields_by_name) for name, one in pb.DESCRIPTOR.message_types_by_name.items()}
    assert messages["SignedRequest"] == {"fields", "signature"}
    assert messages["JoinRequest"] == {"request", "token"}
    assert messages["TermsRequest"] == {"token_sha256"}


def test_the_grounds_are_keys_and_protocol() -> None:
    assert {why for fields in SENT.values() for why, _ in fields.values()} == {"key", "protocol"}
    assert all(words for fields in SENT.values() for _, words in fields.values())


@pytest.mark.parametrize(("rpc", "fields"), [("Join", ["kind"]), ("Renew", ["csr", "units"]), ("Tables", [])])
def test_a_call_with_other_fields_is_not_made(rpc: str, fields: list[str]) -> None:
    with pytest.raises(BadConsortium, match="than may leave"):
        require_grounds(rpc, fields)
