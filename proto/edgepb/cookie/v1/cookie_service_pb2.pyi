from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
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
    UPDATED: _ClassVar[RenewOutcome]

class RevocationReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REVOCATION_REASON_UNSPECIFIED: _ClassVar[RevocationReason]
    SIGN_OUT_EVERYWHERE: _ClassVar[RevocationReason]
    PASSWORD_CHANGED: _ClassVar[RevocationReason]
    LOGOUT: _ClassVar[RevocationReason]
    DEVICE_REMOVED: _ClassVar[RevocationReason]

class RevocationKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REVOCATION_KIND_UNSPECIFIED: _ClassVar[RevocationKind]
    CUSTOMER: _ClassVar[RevocationKind]
    SESSION: _ClassVar[RevocationKind]
    DEVICE: _ClassVar[RevocationKind]
RENEW_OUTCOME_UNSPECIFIED: RenewOutcome
RENEWED: RenewOutcome
NOT_A_MEMBER: RenewOutcome
REVOKED: RenewOutcome
UNAVAILABLE: RenewOutcome
REFUSED: RenewOutcome
UPDATED: RenewOutcome
REVOCATION_REASON_UNSPECIFIED: RevocationReason
SIGN_OUT_EVERYWHERE: RevocationReason
PASSWORD_CHANGED: RevocationReason
LOGOUT: RevocationReason
DEVICE_REMOVED: RevocationReason
REVOCATION_KIND_UNSPECIFIED: RevocationKind
CUSTOMER: RevocationKind
SESSION: RevocationKind
DEVICE: RevocationKind

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
    __slots__ = ("outcome", "pair", "moved_to")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    PAIR_FIELD_NUMBER: _ClassVar[int]
    MOVED_TO_FIELD_NUMBER: _ClassVar[int]
    outcome: RenewOutcome
    pair: CookiePair
    moved_to: int
    def __init__(self, outcome: _Optional[_Union[RenewOutcome, str]] = ..., pair: _Optional[_Union[CookiePair, _Mapping]] = ..., moved_to: _Optional[int] = ...) -> None: ...

class UpdateRequest(_message.Message):
    __slots__ = ("insecure", "customer_id", "account_owner_id", "profile_id", "esn", "device_type", "level")
    INSECURE_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    PROFILE_ID_FIELD_NUMBER: _ClassVar[int]
    ESN_FIELD_NUMBER: _ClassVar[int]
    DEVICE_TYPE_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    insecure: bytes
    customer_id: int
    account_owner_id: int
    profile_id: str
    esn: str
    device_type: int
    level: int
    def __init__(self, insecure: _Optional[bytes] = ..., customer_id: _Optional[int] = ..., account_owner_id: _Optional[int] = ..., profile_id: _Optional[str] = ..., esn: _Optional[str] = ..., device_type: _Optional[int] = ..., level: _Optional[int] = ...) -> None: ...

class UpdateResponse(_message.Message):
    __slots__ = ("outcome", "pair", "moved_to")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    PAIR_FIELD_NUMBER: _ClassVar[int]
    MOVED_TO_FIELD_NUMBER: _ClassVar[int]
    outcome: RenewOutcome
    pair: CookiePair
    moved_to: int
    def __init__(self, outcome: _Optional[_Union[RenewOutcome, str]] = ..., pair: _Optional[_Union[CookiePair, _Mapping]] = ..., moved_to: _Optional[int] = ...) -> None: ...

class RevokeRequest(_message.Message):
    __slots__ = ("reason", "customer_id", "session_id", "esn", "except_session_id", "age_s")
    REASON_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ESN_FIELD_NUMBER: _ClassVar[int]
    EXCEPT_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    reason: RevocationReason
    customer_id: int
    session_id: str
    esn: str
    except_session_id: str
    age_s: int
    def __init__(self, reason: _Optional[_Union[RevocationReason, str]] = ..., customer_id: _Optional[int] = ..., session_id: _Optional[str] = ..., esn: _Optional[str] = ..., except_session_id: _Optional[str] = ..., age_s: _Optional[int] = ...) -> None: ...

class RevokeResponse(_message.Message):
    __slots__ = ("revocation",)
    REVOCATION_FIELD_NUMBER: _ClassVar[int]
    revocation: Revocation
    def __init__(self, revocation: _Optional[_Union[Revocation, _Mapping]] = ...) -> None: ...

class Revocation(_message.Message):
    __slots__ = ("id", "kind", "customer_id", "session_id", "esn", "except_session_id", "revoked_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ESN_FIELD_NUMBER: _ClassVar[int]
    EXCEPT_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REVOKED_AT_FIELD_NUMBER: _ClassVar[int]
    id: int
    kind: RevocationKind
    customer_id: int
    session_id: str
    esn: str
    except_session_id: str
    revoked_at: int
    def __init__(self, id: _Optional[int] = ..., kind: _Optional[_Union[RevocationKind, str]] = ..., customer_id: _Optional[int] = ..., session_id: _Optional[str] = ..., esn: _Optional[str] = ..., except_session_id: _Optional[str] = ..., revoked_at: _Optional[int] = ...) -> None: ...

class RevocationFeed(_message.Message):
    __slots__ = ("revocations", "cursor", "more", "retention_s")
    REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    RETENTION_S_FIELD_NUMBER: _ClassVar[int]
    revocations: _containers.RepeatedCompositeFieldContainer[Revocation]
    cursor: int
    more: bool
    retention_s: int
    def __init__(self, revocations: _Optional[_Iterable[_Union[Revocation, _Mapping]]] = ..., cursor: _Optional[int] = ..., more: _Optional[bool] = ..., retention_s: _Optional[int] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("reason", "detail")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    reason: str
    detail: str
    def __init__(self, reason: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...
