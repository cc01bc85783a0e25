from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class CookieClaims(_message.Message):
    __slots__ = ("customer_id", "account_owner_id", "profile_id", "esn", "device_type", "session_id", "issued_at", "renew_after", "expires_at", "generation", "level", "rescheduled_count", "rescheduled_since", "original_expires_at", "original_issued_at")
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    PROFILE_ID_FIELD_NUMBER: _ClassVar[int]
    ESN_FIELD_NUMBER: _ClassVar[int]
    DEVICE_TYPE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    RENEW_AFTER_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    RESCHEDULED_COUNT_FIELD_NUMBER: _ClassVar[int]
    RESCHEDULED_SINCE_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_ISSUED_AT_FIELD_NUMBER: _ClassVar[int]
    customer_id: int
    account_owner_id: int
    profile_id: str
    esn: str
    device_type: int
    session_id: str
    issued_at: int
    renew_after: int
    expires_at: int
    generation: int
    level: int
    rescheduled_count: int
    rescheduled_since: int
    original_expires_at: int
    original_issued_at: int
    def __init__(self, customer_id: _Optional[int] = ..., account_owner_id: _Optional[int] = ..., profile_id: _Optional[str] = ..., esn: _Optional[str] = ..., device_type: _Optional[int] = ..., session_id: _Optional[str] = ..., issued_at: _Optional[int] = ..., renew_after: _Optional[int] = ..., expires_at: _Optional[int] = ..., generation: _Optional[int] = ..., level: _Optional[int] = ..., rescheduled_count: _Optional[int] = ..., rescheduled_since: _Optional[int] = ..., original_expires_at: _Optional[int] = ..., original_issued_at: _Optional[int] = ...) -> None: ...
