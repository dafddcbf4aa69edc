from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BodyState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BODY_NONE: _ClassVar[BodyState]
    BODY_TAKEN: _ClassVar[BodyState]
    BODY_KEPT: _ClassVar[BodyState]
    BODY_ERASED: _ClassVar[BodyState]
    BODY_MISSING: _ClassVar[BodyState]
BODY_NONE: BodyState
BODY_TAKEN: BodyState
BODY_KEPT: BodyState
BODY_ERASED: BodyState
BODY_MISSING: BodyState

class Submission(_message.Message):
    __slots__ = ("statement", "body")
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    statement: bytes
    body: bytes
    def __init__(self, statement: _Optional[bytes] = ..., body: _Optional[bytes] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("submissions", "wait_s")
    SUBMISSIONS_FIELD_NUMBER: _ClassVar[int]
    WAIT_S_FIELD_NUMBER: _ClassVar[int]
    submissions: _containers.RepeatedCompositeFieldContainer[Submission]
    wait_s: float
    def __init__(self, submissions: _Optional[_Iterable[_Union[Submission, _Mapping]]] = ..., wait_s: _Optional[float] = ...) -> None: ...

class SubmitReply(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[Result]
    def __init__(self, results: _Optional[_Iterable[_Union[Result, _Mapping]]] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("placed", "refusal")
    PLACED_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    placed: Placed
    refusal: Refusal
    def __init__(self, placed: _Optional[_Union[Placed, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...

class Placed(_message.Message):
    __slots__ = ("index", "receipt", "promise", "body")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    PROMISE_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    index: int
    receipt: bytes
    promise: bytes
    body: BodyState
    def __init__(self, index: _Optional[int] = ..., receipt: _Optional[bytes] = ..., promise: _Optional[bytes] = ..., body: _Optional[_Union[BodyState, str]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("rule", "entry", "detail")
    RULE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    rule: str
    entry: int
    detail: str
    def __init__(self, rule: _Optional[str] = ..., entry: _Optional[int] = ..., detail: _Optional[str] = ...) -> None: ...

class EntriesRequest(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("statement", "leaf_hash")
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    LEAF_HASH_FIELD_NUMBER: _ClassVar[int]
    statement: bytes
    leaf_hash: bytes
    def __init__(self, statement: _Optional[bytes] = ..., leaf_hash: _Optional[bytes] = ...) -> None: ...

class EntriesReply(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    def __init__(self, entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ...) -> None: ...

class FollowRequest(_message.Message):
    __slots__ = ("start", "final_size")
    START_FIELD_NUMBER: _ClassVar[int]
    FINAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    start: int
    final_size: int
    def __init__(self, start: _Optional[int] = ..., final_size: _Optional[int] = ...) -> None: ...

class News(_message.Message):
    __slots__ = ("entries", "checkpoint", "consistency", "final_checkpoint")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
    FINAL_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    checkpoint: str
    consistency: _containers.RepeatedScalarFieldContainer[bytes]
    final_checkpoint: str
    def __init__(self, entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ..., checkpoint: _Optional[str] = ..., consistency: _Optional[_Iterable[bytes]] = ..., final_checkpoint: _Optional[str] = ...) -> None: ...

class CheckpointRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CheckpointReply(_message.Message):
    __slots__ = ("checkpoint", "final_checkpoint")
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    FINAL_CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    checkpoint: str
    final_checkpoint: str
    def __init__(self, checkpoint: _Optional[str] = ..., final_checkpoint: _Optional[str] = ...) -> None: ...

class NotesRequest(_message.Message):
    __slots__ = ("start",)
    START_FIELD_NUMBER: _ClassVar[int]
    start: int
    def __init__(self, start: _Optional[int] = ...) -> None: ...

class NotesReply(_message.Message):
    __slots__ = ("notes",)
    NOTES_FIELD_NUMBER: _ClassVar[int]
    notes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, notes: _Optional[_Iterable[str]] = ...) -> None: ...

class ConsistencyRequest(_message.Message):
    __slots__ = ("old_size", "new_size")
    OLD_SIZE_FIELD_NUMBER: _ClassVar[int]
    NEW_SIZE_FIELD_NUMBER: _ClassVar[int]
    old_size: int
    new_size: int
    def __init__(self, old_size: _Optional[int] = ..., new_size: _Optional[int] = ...) -> None: ...

class InclusionRequest(_message.Message):
    __slots__ = ("index", "size")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    index: int
    size: int
    def __init__(self, index: _Optional[int] = ..., size: _Optional[int] = ...) -> None: ...

class Proof(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, path: _Optional[_Iterable[bytes]] = ...) -> None: ...

class ReceiptRequest(_message.Message):
    __slots__ = ("index", "digest")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    index: int
    digest: bytes
    def __init__(self, index: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class ReceiptReply(_message.Message):
    __slots__ = ("index", "receipt")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    index: int
    receipt: bytes
    def __init__(self, index: _Optional[int] = ..., receipt: _Optional[bytes] = ...) -> None: ...

class CosignRequest(_message.Message):
    __slots__ = ("lines", "size")
    LINES_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedScalarFieldContainer[str]
    size: int
    def __init__(self, lines: _Optional[_Iterable[str]] = ..., size: _Optional[int] = ...) -> None: ...

class CosignReply(_message.Message):
    __slots__ = ("final",)
    FINAL_FIELD_NUMBER: _ClassVar[int]
    final: bool
    def __init__(self, final: _Optional[bool] = ...) -> None: ...

class BodyRequest(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    def __init__(self, digest: _Optional[bytes] = ...) -> None: ...

class BodyReply(_message.Message):
    __slots__ = ("body",)
    BODY_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    def __init__(self, body: _Optional[bytes] = ...) -> None: ...

class DeleteBodyRequest(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    def __init__(self, digest: _Optional[bytes] = ...) -> None: ...

class DeleteBodyReply(_message.Message):
    __slots__ = ("before",)
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    before: BodyState
    def __init__(self, before: _Optional[_Union[BodyState, str]] = ...) -> None: ...

class MembersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Member(_message.Message):
    __slots__ = ("member", "kind", "name", "key", "active", "encryption_key")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTION_KEY_FIELD_NUMBER: _ClassVar[int]
    member: str
    kind: str
    name: str
    key: bytes
    active: bool
    encryption_key: bytes
    def __init__(self, member: _Optional[str] = ..., kind: _Optional[str] = ..., name: _Optional[str] = ..., key: _Optional[bytes] = ..., active: _Optional[bool] = ..., encryption_key: _Optional[bytes] = ...) -> None: ...

class MembersReply(_message.Message):
    __slots__ = ("size", "members")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    size: int
    members: _containers.RepeatedCompositeFieldContainer[Member]
    def __init__(self, size: _Optional[int] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("origin", "size", "checkpoint_size", "final_size", "audited", "waiting_s", "promise_s", "witnesses")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_SIZE_FIELD_NUMBER: _ClassVar[int]
    FINAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    AUDITED_FIELD_NUMBER: _ClassVar[int]
    WAITING_S_FIELD_NUMBER: _ClassVar[int]
    PROMISE_S_FIELD_NUMBER: _ClassVar[int]
    WITNESSES_FIELD_NUMBER: _ClassVar[int]
    origin: str
    size: int
    checkpoint_size: int
    final_size: int
    audited: int
    waiting_s: float
    promise_s: float
    witnesses: _containers.RepeatedCompositeFieldContainer[WitnessStatus]
    def __init__(self, origin: _Optional[str] = ..., size: _Optional[int] = ..., checkpoint_size: _Optional[int] = ..., final_size: _Optional[int] = ..., audited: _Optional[int] = ..., waiting_s: _Optional[float] = ..., promise_s: _Optional[float] = ..., witnesses: _Optional[_Iterable[_Union[WitnessStatus, _Mapping]]] = ...) -> None: ...

class WitnessStatus(_message.Message):
    __slots__ = ("member", "cosigned")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    COSIGNED_FIELD_NUMBER: _ClassVar[int]
    member: str
    cosigned: int
    def __init__(self, member: _Optional[str] = ..., cosigned: _Optional[int] = ...) -> None: ...
