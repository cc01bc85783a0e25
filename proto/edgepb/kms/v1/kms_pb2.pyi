from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class KeyState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KEY_STATE_UNSPECIFIED: _ClassVar[KeyState]
    PRE_ACTIVE: _ClassVar[KeyState]
    ACTIVE: _ClassVar[KeyState]
    DEACTIVATED: _ClassVar[KeyState]
    DESTROYED: _ClassVar[KeyState]

class Use(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    USE_UNSPECIFIED: _ClassVar[Use]
    PROTECT: _ClassVar[Use]
    OPEN: _ClassVar[Use]
KEY_STATE_UNSPECIFIED: KeyState
PRE_ACTIVE: KeyState
ACTIVE: KeyState
DEACTIVATED: KeyState
DESTROYED: KeyState
USE_UNSPECIFIED: Use
PROTECT: Use
OPEN: Use

class KeyVersion(_message.Message):
    __slots__ = ("key_id", "state", "material", "created", "primary")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MATERIAL_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    key_id: int
    state: KeyState
    material: bytes
    created: int
    primary: bool
    def __init__(self, key_id: _Optional[int] = ..., state: _Optional[_Union[KeyState, str]] = ..., material: _Optional[bytes] = ..., created: _Optional[int] = ..., primary: _Optional[bool] = ...) -> None: ...

class KeySet(_message.Message):
    __slots__ = ("purpose", "versions", "uses")
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    USES_FIELD_NUMBER: _ClassVar[int]
    purpose: str
    versions: _containers.RepeatedCompositeFieldContainer[KeyVersion]
    uses: _containers.RepeatedScalarFieldContainer[Use]
    def __init__(self, purpose: _Optional[str] = ..., versions: _Optional[_Iterable[_Union[KeyVersion, _Mapping]]] = ..., uses: _Optional[_Iterable[_Union[Use, str]]] = ...) -> None: ...

class KeyUse(_message.Message):
    __slots__ = ("key_id", "last_used", "count")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    key_id: int
    last_used: int
    count: int
    def __init__(self, key_id: _Optional[int] = ..., last_used: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class GetKeySetsRequest(_message.Message):
    __slots__ = ("purposes", "holder", "revision_held", "uses")
    PURPOSES_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    REVISION_HELD_FIELD_NUMBER: _ClassVar[int]
    USES_FIELD_NUMBER: _ClassVar[int]
    purposes: _containers.RepeatedScalarFieldContainer[str]
    holder: str
    revision_held: int
    uses: _containers.RepeatedCompositeFieldContainer[KeyUse]
    def __init__(self, purposes: _Optional[_Iterable[str]] = ..., holder: _Optional[str] = ..., revision_held: _Optional[int] = ..., uses: _Optional[_Iterable[_Union[KeyUse, _Mapping]]] = ...) -> None: ...

class GetKeySetsResponse(_message.Message):
    __slots__ = ("key_sets", "revision")
    KEY_SETS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    key_sets: _containers.RepeatedCompositeFieldContainer[KeySet]
    revision: int
    def __init__(self, key_sets: _Optional[_Iterable[_Union[KeySet, _Mapping]]] = ..., revision: _Optional[int] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("reason", "detail")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    reason: str
    detail: str
    def __init__(self, reason: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...
