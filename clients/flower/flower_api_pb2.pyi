from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AcquireTaskRequest(_message.Message):
    __slots__ = ("supported_task_types",)
    SUPPORTED_TASK_TYPES_FIELD_NUMBER: _ClassVar[int]
    supported_task_types: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, supported_task_types: _Optional[_Iterable[str]] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("task_id", "run_id", "fab_hash")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    FAB_HASH_FIELD_NUMBER: _ClassVar[int]
    task_id: int
    run_id: int
    fab_hash: str
    def __init__(self, task_id: _Optional[int] = ..., run_id: _Optional[int] = ..., fab_hash: _Optional[str] = ...) -> None: ...

class AcquireTaskResponse(_message.Message):
    __slots__ = ("task", "token")
    TASK_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    task: Task
    token: str
    def __init__(self, task: _Optional[_Union[Task, _Mapping]] = ..., token: _Optional[str] = ...) -> None: ...

class PushTaskOutputRequest(_message.Message):
    __slots__ = ("sub_status", "details")
    SUB_STATUS_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    sub_status: str
    details: str
    def __init__(self, sub_status: _Optional[str] = ..., details: _Optional[str] = ...) -> None: ...

class PushTaskOutputResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListNodesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class NodeInfo(_message.Message):
    __slots__ = ("node_id", "status", "online_until", "heartbeat_interval", "public_key", "name")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ONLINE_UNTIL_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    status: str
    online_until: float
    heartbeat_interval: float
    public_key: bytes
    name: str
    def __init__(self, node_id: _Optional[int] = ..., status: _Optional[str] = ..., online_until: _Optional[float] = ..., heartbeat_interval: _Optional[float] = ..., public_key: _Optional[bytes] = ..., name: _Optional[str] = ...) -> None: ...

class ListNodesResponse(_message.Message):
    __slots__ = ("nodes_info",)
    NODES_INFO_FIELD_NUMBER: _ClassVar[int]
    nodes_info: _containers.RepeatedCompositeFieldContainer[NodeInfo]
    def __init__(self, nodes_info: _Optional[_Iterable[_Union[NodeInfo, _Mapping]]] = ...) -> None: ...

class RegisterNodeRequest(_message.Message):
    __slots__ = ("public_key", "name")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    name: str
    def __init__(self, public_key: _Optional[bytes] = ..., name: _Optional[str] = ...) -> None: ...

class RegisterNodeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UnregisterNodeRequest(_message.Message):
    __slots__ = ("node_id",)
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    node_id: int
    def __init__(self, node_id: _Optional[int] = ...) -> None: ...

class UnregisterNodeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Fab(_message.Message):
    __slots__ = ("hash_str", "content")
    HASH_STR_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    hash_str: str
    content: bytes
    def __init__(self, hash_str: _Optional[str] = ..., content: _Optional[bytes] = ...) -> None: ...

class Scalar(_message.Message):
    __slots__ = ("double", "sint64", "bool", "string")
    DOUBLE_FIELD_NUMBER: _ClassVar[int]
    SINT64_FIELD_NUMBER: _ClassVar[int]
    BOOL_FIELD_NUMBER: _ClassVar[int]
    STRING_FIELD_NUMBER: _ClassVar[int]
    double: float
    sint64: int
    bool: bool
    string: str
    def __init__(self, double: _Optional[float] = ..., sint64: _Optional[int] = ..., bool: _Optional[bool] = ..., string: _Optional[str] = ...) -> None: ...

class StartRunRequest(_message.Message):
    __slots__ = ("fab", "override_config")
    class OverrideConfigEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Scalar
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Scalar, _Mapping]] = ...) -> None: ...
    FAB_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_CONFIG_FIELD_NUMBER: _ClassVar[int]
    fab: Fab
    override_config: _containers.MessageMap[str, Scalar]
    def __init__(self, fab: _Optional[_Union[Fab, _Mapping]] = ..., override_config: _Optional[_Mapping[str, Scalar]] = ...) -> None: ...

class StartRunResponse(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: int
    def __init__(self, run_id: _Optional[int] = ...) -> None: ...

class RunStatus(_message.Message):
    __slots__ = ("status", "sub_status", "details")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SUB_STATUS_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    status: str
    sub_status: str
    details: str
    def __init__(self, status: _Optional[str] = ..., sub_status: _Optional[str] = ..., details: _Optional[str] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("run_id", "status")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    run_id: int
    status: RunStatus
    def __init__(self, run_id: _Optional[int] = ..., status: _Optional[_Union[RunStatus, _Mapping]] = ...) -> None: ...

class ListRunsRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: int
    def __init__(self, run_id: _Optional[int] = ...) -> None: ...

class ListRunsResponse(_message.Message):
    __slots__ = ("run_dict",)
    class RunDictEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: Run
        def __init__(self, key: _Optional[int] = ..., value: _Optional[_Union[Run, _Mapping]] = ...) -> None: ...
    RUN_DICT_FIELD_NUMBER: _ClassVar[int]
    run_dict: _containers.MessageMap[int, Run]
    def __init__(self, run_dict: _Optional[_Mapping[int, Run]] = ...) -> None: ...

class StopRunRequest(_message.Message):
    __slots__ = ("run_id",)
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    run_id: int
    def __init__(self, run_id: _Optional[int] = ...) -> None: ...

class StopRunResponse(_message.Message):
    __slots__ = ("success",)
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    success: bool
    def __init__(self, success: _Optional[bool] = ...) -> None: ...
