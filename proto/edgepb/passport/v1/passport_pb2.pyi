from google.protobuf import wrappers_pb2 as _wrappers_pb2
from edgepb.passport.v1 import actions_pb2 as _actions_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_NONE: _ClassVar[Source]
    SOURCE_COOKIE: _ClassVar[Source]
    SOURCE_COOKIE_INSECURE: _ClassVar[Source]
    SOURCE_MSL: _ClassVar[Source]
    SOURCE_PARTNER_TOKEN: _ClassVar[Source]
    SOURCE_CTICKET: _ClassVar[Source]
    SOURCE_USER_CREDENTIALS: _ClassVar[Source]

class AuthenticationLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEVEL_UNSPECIFIED: _ClassVar[AuthenticationLevel]
    LEVEL_LOW: _ClassVar[AuthenticationLevel]
    LEVEL_HIGH: _ClassVar[AuthenticationLevel]
    LEVEL_HIGHEST: _ClassVar[AuthenticationLevel]
SOURCE_NONE: Source
SOURCE_COOKIE: Source
SOURCE_COOKIE_INSECURE: Source
SOURCE_MSL: Source
SOURCE_PARTNER_TOKEN: Source
SOURCE_CTICKET: Source
SOURCE_USER_CREDENTIALS: Source
LEVEL_UNSPECIFIED: AuthenticationLevel
LEVEL_LOW: AuthenticationLevel
LEVEL_HIGH: AuthenticationLevel
LEVEL_HIGHEST: AuthenticationLevel

class Header(_message.Message):
    __slots__ = ("request_id", "created", "issuer", "trust_domain")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    TRUST_DOMAIN_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    created: int
    issuer: str
    trust_domain: str
    def __init__(self, request_id: _Optional[str] = ..., created: _Optional[int] = ..., issuer: _Optional[str] = ..., trust_domain: _Optional[str] = ...) -> None: ...

class UserInfo(_message.Message):
    __slots__ = ("source", "created", "expires", "customer_id", "account_owner_id", "profile_id", "session_id", "authentication_level", "actions", "rescheduled")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    PROFILE_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATION_LEVEL_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    RESCHEDULED_FIELD_NUMBER: _ClassVar[int]
    source: Source
    created: int
    expires: int
    customer_id: _wrappers_pb2.Int64Value
    account_owner_id: _wrappers_pb2.Int64Value
    profile_id: _wrappers_pb2.StringValue
    session_id: _wrappers_pb2.StringValue
    authentication_level: AuthenticationLevel
    actions: _containers.RepeatedScalarFieldContainer[_actions_pb2.UserAction]
    rescheduled: bool
    def __init__(self, source: _Optional[_Union[Source, str]] = ..., created: _Optional[int] = ..., expires: _Optional[int] = ..., customer_id: _Optional[_Union[_wrappers_pb2.Int64Value, _Mapping]] = ..., account_owner_id: _Optional[_Union[_wrappers_pb2.Int64Value, _Mapping]] = ..., profile_id: _Optional[_Union[_wrappers_pb2.StringValue, _Mapping]] = ..., session_id: _Optional[_Union[_wrappers_pb2.StringValue, _Mapping]] = ..., authentication_level: _Optional[_Union[AuthenticationLevel, str]] = ..., actions: _Optional[_Iterable[_Union[_actions_pb2.UserAction, str]]] = ..., rescheduled: _Optional[bool] = ...) -> None: ...

class DeviceInfo(_message.Message):
    __slots__ = ("source", "created", "expires", "esn", "device_type", "actions", "authentication_level")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    ESN_FIELD_NUMBER: _ClassVar[int]
    DEVICE_TYPE_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATION_LEVEL_FIELD_NUMBER: _ClassVar[int]
    source: Source
    created: int
    expires: int
    esn: _wrappers_pb2.StringValue
    device_type: _wrappers_pb2.Int32Value
    actions: _containers.RepeatedScalarFieldContainer[_actions_pb2.DeviceAction]
    authentication_level: AuthenticationLevel
    def __init__(self, source: _Optional[_Union[Source, str]] = ..., created: _Optional[int] = ..., expires: _Optional[int] = ..., esn: _Optional[_Union[_wrappers_pb2.StringValue, _Mapping]] = ..., device_type: _Optional[_Union[_wrappers_pb2.Int32Value, _Mapping]] = ..., actions: _Optional[_Iterable[_Union[_actions_pb2.DeviceAction, str]]] = ..., authentication_level: _Optional[_Union[AuthenticationLevel, str]] = ...) -> None: ...

class Integrity(_message.Message):
    __slots__ = ("version", "key_name", "hmac")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KEY_NAME_FIELD_NUMBER: _ClassVar[int]
    HMAC_FIELD_NUMBER: _ClassVar[int]
    version: int
    key_name: str
    hmac: bytes
    def __init__(self, version: _Optional[int] = ..., key_name: _Optional[str] = ..., hmac: _Optional[bytes] = ...) -> None: ...

class Passport(_message.Message):
    __slots__ = ("header", "user_info", "device_info", "user_integrity", "device_integrity")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    USER_INFO_FIELD_NUMBER: _ClassVar[int]
    DEVICE_INFO_FIELD_NUMBER: _ClassVar[int]
    USER_INTEGRITY_FIELD_NUMBER: _ClassVar[int]
    DEVICE_INTEGRITY_FIELD_NUMBER: _ClassVar[int]
    header: Header
    user_info: UserInfo
    device_info: DeviceInfo
    user_integrity: Integrity
    device_integrity: Integrity
    def __init__(self, header: _Optional[_Union[Header, _Mapping]] = ..., user_info: _Optional[_Union[UserInfo, _Mapping]] = ..., device_info: _Optional[_Union[DeviceInfo, _Mapping]] = ..., user_integrity: _Optional[_Union[Integrity, _Mapping]] = ..., device_integrity: _Optional[_Union[Integrity, _Mapping]] = ...) -> None: ...

class PassportEnvelope(_message.Message):
    __slots__ = ("header", "user_info", "device_info", "user_integrity", "device_integrity")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    USER_INFO_FIELD_NUMBER: _ClassVar[int]
    DEVICE_INFO_FIELD_NUMBER: _ClassVar[int]
    USER_INTEGRITY_FIELD_NUMBER: _ClassVar[int]
    DEVICE_INTEGRITY_FIELD_NUMBER: _ClassVar[int]
    header: bytes
    user_info: bytes
    device_info: bytes
    user_integrity: Integrity
    device_integrity: Integrity
    def __init__(self, header: _Optional[bytes] = ..., user_info: _Optional[bytes] = ..., device_info: _Optional[bytes] = ..., user_integrity: _Optional[_Union[Integrity, _Mapping]] = ..., device_integrity: _Optional[_Union[Integrity, _Mapping]] = ...) -> None: ...
