"""Every reason for which the edge itself answers a request: stable ids, listed in docs/reasons.md."""

from enum import StrEnum


class Reason(StrEnum):
    """A stable id, seen in the error page, the access log and the metrics.

    `Reason.X.sentence` is one human sentence for the error page. Never rename an id: dashboards hold them.
    """

    sentence: str

    def __new__(cls, value: str, sentence: str) -> "Reason":
        """Make a member that is its id and carries its sentence."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member

    # The request as bytes (THREATS S, P): 4xx and a closed connection.
    MALFORMED_REQUEST = "malformed_request", "The request is not valid HTTP/1.1."
    UNSUPPORTED_VERSION = "unsupported_version", "Only HTTP/1.0 and HTTP/1.1 are spoken here."
    AMBIGUOUS_FRAMING = "ambiguous_framing", "The request's length can be read in more than one way."
    BAD_HOST = "bad_host", "The Host header is missing, repeated or not a host."
    BAD_TARGET = "bad_target", "The request target is not valid."
    AMBIGUOUS_PATH = "ambiguous_path", "The request path can be read in more than one way."
    TARGET_TOO_LONG = "target_too_long", "The request target is too long."
    HEAD_TOO_LARGE = "head_too_large", "The request head is too large."
    TOO_MANY_HEADERS = "too_many_headers", "The request has too many header fields."
    BODY_TOO_LARGE = "body_too_large", "The request body is too large."
    METHOD_NOT_SUPPORTED = "method_not_supported", "This method is not supported."
    UPGRADE_NOT_SUPPORTED = "upgrade_not_supported", "Protocol upgrades are not supported here."
    EXPECTATION_UNKNOWN = "expectation_unknown", "The only expectation known here is 100-continue."
    # Time.
    HEAD_TIMEOUT = "head_timeout", "The request head did not arrive in time."
    BODY_TIMEOUT = "body_timeout", "The request body did not arrive in time."
    REQUEST_TIMEOUT = "request_timeout", "The request took too long."
    # Routing and authorisation.
    NO_ROUTE = "no_route", "Nothing is served here."
    METHOD_NOT_ALLOWED = "method_not_allowed", "This method is not allowed here."
    TOKEN_REFUSED = "token_refused", "The token is not valid."
    AUTHENTICATION_REQUIRED = "authentication_required", "Sign in to use this."
    LEVEL_TOO_LOW = "level_too_low", "A stronger sign-in is needed for this."
    DEVICE_REQUIRED = "device_required", "A known device is needed for this."
    # Filters.
    FILTER_ERROR = "filter_error", "The request could not be checked."
    FILTER_TIMEOUT = "filter_timeout", "The request could not be checked in time."
    FILTER_OVERLOADED = "filter_overloaded", "Too many requests are being checked."
    KEYS_UNAVAILABLE = "keys_unavailable", "The edge has no keys yet."
    KEYS_STALE = "keys_stale", "The token could not be checked: try again later."
    # Origins and services.
    ORIGIN_CONNECT_FAILED = "origin_connect_failed", "The origin cannot be reached."
    ORIGIN_CONNECT_TIMEOUT = "origin_connect_timeout", "The origin did not accept in time."
    ORIGIN_TLS_FAILED = "origin_tls_failed", "The origin cannot be verified."
    ORIGIN_POOL_EXHAUSTED = "origin_pool_exhausted", "All connections to the origin are in use."
    ORIGIN_UNAVAILABLE = "origin_unavailable", "The origin keeps failing: try again later."
    ORIGIN_OVERLOADED = "origin_overloaded", "The origin has as much to do as it can: try again later."
    ORIGIN_TIMEOUT = "origin_timeout", "The origin did not answer in time."
    ORIGIN_PROTOCOL_ERROR = "origin_protocol_error", "The origin's answer is not valid HTTP/1.1."
    ORIGIN_CLOSED = "origin_closed", "The origin closed the connection before it answered."
    ORIGIN_CUT = "origin_cut", "The origin closed the connection in the middle of its answer."
    TOKEN_SERVICE_UNAVAILABLE = "token_service_unavailable", "The sign-in, or a change of it, could not be completed."
    TOO_MANY_REQUESTS = "too_many_requests", "Too many requests from this address."
    OVERLOADED = "overloaded", "The edge is overloaded: try again later."
    INTERNAL_ERROR = "internal_error", "The edge met an error of its own."
    DRAINING = "draining", "The edge is shutting down."
    # Not answers: how an exchange can end without one.
    READER_TOO_SLOW = "reader_too_slow", "The client took its answer too slowly."
    CLIENT_GONE = "client_gone", "The client closed the connection."
    UPGRADE_IDLE = "upgrade_idle", "Nothing passed over the upgraded connection."
    UPGRADE_EXPIRED = "upgrade_expired", "The upgraded connection was open for as long as it may be."
