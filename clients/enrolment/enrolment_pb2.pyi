from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SignedRequest(_message.Message):
    __slots__ = ("fields", "signature")
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    fields: bytes
    signature: bytes
    def __init__(self, fields: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class TermsRequest(_message.Message):
    __slots__ = ("token_sha256",)
    TOKEN_SHA256_FIELD_NUMBER: _ClassVar[int]
    token_sha256: bytes
    def __init__(self, token_sha256: _Optional[bytes] = ...) -> None: ...

class TermsReply(_message.Message):
    __slots__ = ("policy", "specs")
    class SpecsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    POLICY_FIELD_NUMBER: _ClassVar[int]
    SPECS_FIELD_NUMBER: _ClassVar[int]
    policy: bytes
    specs: _containers.ScalarMap[str, bytes]
    def __init__(self, policy: _Optional[bytes] = ..., specs: _Optional[_Mapping[str, bytes]] = ...) -> None: ...

class JoinRequest(_message.Message):
    __slots__ = ("request", "token")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    request: SignedRequest
    token: bytes
    def __init__(self, request: _Optional[_Union[SignedRequest, _Mapping]] = ..., token: _Optional[bytes] = ...) -> None: ...

class StandingReply(_message.Message):
    __slots__ = ("phase", "detail", "certificate", "origin", "founding", "addresses")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    FOUNDING_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    phase: str
    detail: str
    certificate: bytes
    origin: str
    founding: _containers.RepeatedScalarFieldContainer[bytes]
    addresses: Addresses
    def __init__(self, phase: _Optional[str] = ..., detail: _Optional[str] = ..., certificate: _Optional[bytes] = ..., origin: _Optional[str] = ..., founding: _Optional[_Iterable[bytes]] = ..., addresses: _Optional[_Union[Addresses, _Mapping]] = ...) -> None: ...

class Addresses(_message.Message):
    __slots__ = ("enrolment", "ledger", "fleet", "scores")
    ENROLMENT_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    FLEET_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    enrolment: str
    ledger: str
    fleet: str
    scores: str
    def __init__(self, enrolment: _Optional[str] = ..., ledger: _Optional[str] = ..., fleet: _Optional[str] = ..., scores: _Optional[str] = ...) -> None: ...

class CertificateReply(_message.Message):
    __slots__ = ("certificate",)
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    certificate: bytes
    def __init__(self, certificate: _Optional[bytes] = ...) -> None: ...

class ProposalsReply(_message.Message):
    __slots__ = ("proposals",)
    PROPOSALS_FIELD_NUMBER: _ClassVar[int]
    proposals: _containers.RepeatedCompositeFieldContainer[ProposalReply]
    def __init__(self, proposals: _Optional[_Iterable[_Union[ProposalReply, _Mapping]]] = ...) -> None: ...

class ProposalReply(_message.Message):
    __slots__ = ("name", "proposal", "approved", "needed", "placed", "refused")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    APPROVED_FIELD_NUMBER: _ClassVar[int]
    NEEDED_FIELD_NUMBER: _ClassVar[int]
    PLACED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    name: str
    proposal: bytes
    approved: _containers.RepeatedScalarFieldContainer[str]
    needed: int
    placed: bool
    refused: str
    def __init__(self, name: _Optional[str] = ..., proposal: _Optional[bytes] = ..., approved: _Optional[_Iterable[str]] = ..., needed: _Optional[int] = ..., placed: _Optional[bool] = ..., refused: _Optional[str] = ...) -> None: ...

class StateReply(_message.Message):
    __slots__ = ("release", "messages_lowest", "messages_highest", "at_s", "runner_seen_s", "tasks", "tasks_unknown")
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_LOWEST_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_HIGHEST_FIELD_NUMBER: _ClassVar[int]
    AT_S_FIELD_NUMBER: _ClassVar[int]
    RUNNER_SEEN_S_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    TASKS_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    release: str
    messages_lowest: int
    messages_highest: int
    at_s: float
    runner_seen_s: float
    tasks: _containers.RepeatedCompositeFieldContainer[TaskState]
    tasks_unknown: bool
    def __init__(self, release: _Optional[str] = ..., messages_lowest: _Optional[int] = ..., messages_highest: _Optional[int] = ..., at_s: _Optional[float] = ..., runner_seen_s: _Optional[float] = ..., tasks: _Optional[_Iterable[_Union[TaskState, _Mapping]]] = ..., tasks_unknown: _Optional[bool] = ...) -> None: ...

class TaskState(_message.Message):
    __slots__ = ("task", "phase", "since_s", "round", "number", "rounds", "step", "kind", "members", "waits_since_s", "until_s", "more")
    TASK_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    SINCE_S_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ROUNDS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    WAITS_SINCE_S_FIELD_NUMBER: _ClassVar[int]
    UNTIL_S_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    task: str
    phase: str
    since_s: float
    round: bytes
    number: int
    rounds: int
    step: str
    kind: str
    members: _containers.RepeatedScalarFieldContainer[str]
    waits_since_s: float
    until_s: float
    more: int
    def __init__(self, task: _Optional[str] = ..., phase: _Optional[str] = ..., since_s: _Optional[float] = ..., round: _Optional[bytes] = ..., number: _Optional[int] = ..., rounds: _Optional[int] = ..., step: _Optional[str] = ..., kind: _Optional[str] = ..., members: _Optional[_Iterable[str]] = ..., waits_since_s: _Optional[float] = ..., until_s: _Optional[float] = ..., more: _Optional[int] = ...) -> None: ...
