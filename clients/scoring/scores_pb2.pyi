from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Feature(_message.Message):
    __slots__ = ("number", "text", "missing")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    number: float
    text: str
    missing: Missing
    def __init__(self, number: _Optional[float] = ..., text: _Optional[str] = ..., missing: _Optional[_Union[Missing, _Mapping]] = ...) -> None: ...

class Missing(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ScoreRequest(_message.Message):
    __slots__ = ("request_id", "task", "features", "purpose", "subject_commitment")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Feature
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Feature, _Mapping]] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    task: str
    features: _containers.MessageMap[str, Feature]
    purpose: str
    subject_commitment: bytes
    def __init__(self, request_id: _Optional[bytes] = ..., task: _Optional[str] = ..., features: _Optional[_Mapping[str, Feature]] = ..., purpose: _Optional[str] = ..., subject_commitment: _Optional[bytes] = ...) -> None: ...

class Reason(_message.Message):
    __slots__ = ("code", "text", "points")
    CODE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    code: str
    text: str
    points: int
    def __init__(self, code: _Optional[str] = ..., text: _Optional[str] = ..., points: _Optional[int] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("receipt", "publish_statement")
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_STATEMENT_FIELD_NUMBER: _ClassVar[int]
    receipt: bytes
    publish_statement: bytes
    def __init__(self, receipt: _Optional[bytes] = ..., publish_statement: _Optional[bytes] = ...) -> None: ...

class ScoreAnswer(_message.Message):
    __slots__ = ("request_id", "score", "pd", "reasons", "model_hash", "release", "answered_at_ms", "signed_answer")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    PD_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    MODEL_HASH_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    SIGNED_ANSWER_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    score: int
    pd: float
    reasons: _containers.RepeatedCompositeFieldContainer[Reason]
    model_hash: bytes
    release: Release
    answered_at_ms: int
    signed_answer: bytes
    def __init__(self, request_id: _Optional[bytes] = ..., score: _Optional[int] = ..., pd: _Optional[float] = ..., reasons: _Optional[_Iterable[_Union[Reason, _Mapping]]] = ..., model_hash: _Optional[bytes] = ..., release: _Optional[_Union[Release, _Mapping]] = ..., answered_at_ms: _Optional[int] = ..., signed_answer: _Optional[bytes] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("request_id", "code", "message")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    request_id: bytes
    code: int
    message: str
    def __init__(self, request_id: _Optional[bytes] = ..., code: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class ScoreResult(_message.Message):
    __slots__ = ("answer", "refusal")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    answer: ScoreAnswer
    refusal: Refusal
    def __init__(self, answer: _Optional[_Union[ScoreAnswer, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ...) -> None: ...
