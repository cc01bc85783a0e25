from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RenewOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RENEW_OUTCOME_UNSPECIFIED: _ClassVar[RenewOutcome]
    RENEWED: _ClassVar[RenewOutcome]
    NOT_A_MEMBER: _ClassVar[RenewOutcome]
    REVOKED: _ClassVar[RenewOutcome]
    UNAVAILABLE: _ClassVar[RenewOutcome]
    REFUSED: _ClassVar[RenewOutcome]
RENEW_OUTCOME_UNSPECIFIED: RenewOutcome
RENEWED: RenewOutcome
NOT_A_MEMBER: RenewOutcome
REVOKED: RenewOutcome
UNAVAILABLE: RenewOutcome
REFUSED: RenewOutcome

class CreateRequest(_message.Message):
    __slots__ = ("customer_id", "account_owner_id", "profile_id", "esn", "device_type", "level")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    PROFILE_ID_FIELD_NUMBER: _ClassVar[int]
    ESN_FIELD_NUMBER: _ClassVar[int]
    DEVICE_TYPE_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    customer_id: int
    account_owner_id: int
    profile_id: str
    esn: str
    device_type: int
    level: int
    def __init__(self, customer_id: _Optional[int] = ..., account_owner_id: _Optional[int] = ..., profile_id: _Optional[str] = ..., esn: _Optional[str] = ..., device_type: _Optional[int] = ..., level: _Optional[int] = ...) -> None: ...

class CookiePair(_message.Message):
    __slots__ = ("insecure", "secure", "expires_at", "generation")
    INSECURE_FIELD_NUMBER: _ClassVar[int]
    SECURE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    insecure: bytes
    secure: bytes
    expires_at: int
    generation: int
    def __init__(self, insecure: _Optional[bytes] = ..., secure: _Optional[bytes] = ..., expires_at: _Optional[int] = ..., generation: _Optional[int] = ...) -> None: ...

class CreateResponse(_message.Message):
    __slots__ = ("pair",)
    PAIR_FIELD_NUMBER: _ClassVar[int]
    pair: CookiePair
    def __init__(self, pair: _Optional[_Union[CookiePair, _Mapping]] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("insecure",)
    INSECURE_FIELD_NUMBER: _ClassVar[int]
    insecure: bytes
    def __init__(self, insecure: _Optional[bytes] = ...) -> None: ...

class RenewResponse(_message.Message):
    __slots__ = ("outcome", "pair")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    PAIR_FIELD_NUMBER: _ClassVar[int]
    outcome: RenewOutcome
    pair: CookiePair
    def __init__(self, outcome: _Optional[_Union[RenewOutcome, str]] = ..., pair: _Optional[_Union[CookiePair, _Mapping]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("reason", "detail")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    reason: str
    detail: str
    def __init__(self, reason: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...
