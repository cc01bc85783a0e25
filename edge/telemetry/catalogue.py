"""Every metric of the edge, once: name, kind, labels, and how the values of several workers become one.

The table of docs/metrics.md is made from this list by `make monitoring`; the exposition and the merge read it and know
no metric by name.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

BUCKET_BOUNDS_S: Final = (
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)


class Kind(StrEnum):
    """What Prometheus calls the type."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(StrEnum):
    """How the workers' values of one series become one value."""

    SUM = "sum"
    MIN = "min"
    MAX = "max"


@dataclass(slots=True, frozen=True)
class Metric:
    """One metric. `help` is its sentence in the exposition.

    `known` are values of a counter's one label that are told as 0 from the start: what appears with its first 1 has
    never grown, as far as Prometheus can see, and these are counters whose first 1 is an alarm.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    merge: Merge = Merge.SUM
    known: tuple[str, ...] = ()


METRICS: Final = (
    Metric(
        "edge_requests_total",
        Kind.COUNTER,
        ("route", "status", "outcome"),
        "Exchanges that ended, by route, status sent and how they ended.",
    ),
    Metric(
        "edge_identity_resolutions_total",
        Kind.COUNTER,
        ("source", "result", "where"),
        "Identities looked for, by token source, result, and whether a remote call was needed.",
    ),
    Metric(
        "edge_user_levels_total",
        Kind.COUNTER,
        ("level",),
        "Exchanges that ended, by the level at which their user was known.",
    ),
    Metric(
        "edge_refusals_total",
        Kind.COUNTER,
        ("reason", "detail"),
        "Requests that the edge answered itself, by public reason and private detail.",
    ),
    Metric(
        "edge_actions_total",
        Kind.COUNTER,
        ("action",),
        "Actions of returned Passports, taken or refused.",
    ),
    Metric(
        "edge_returned_passports_total",
        Kind.COUNTER,
        ("result",),
        "Passports that origins returned, by whether what they ask for was done.",
        known=("accepted", "nothing_asked", "refused"),
    ),
    Metric(
        "edge_renewals_total",
        Kind.COUNTER,
        ("outcome",),
        "Renewals that the cookie service was asked for, by outcome.",
        known=("renewed", "not_a_member", "revoked", "unavailable", "refused"),
    ),
    Metric(
        "edge_user_reauth_errors_total",
        Kind.COUNTER,
        ("cause",),
        "Requests turned away for what may be our failure and not the user's: the first alarm.",
        known=("stale", "unknown_key", "stale_keys", "renewal_refused", "no_keys"),
    ),
    Metric(
        "edge_rollout_decisions_total",
        Kind.COUNTER,
        ("feature", "device_type", "on"),
        "Decisions of dials, at origins that accept legacy traffic and while a dial is not fully on.",
    ),
    Metric(
        "edge_shadow_comparisons_total",
        Kind.COUNTER,
        ("device_type", "token", "result"),
        "Answers of legacy origins whose identity was compared with the edge's, by what came of it.",
    ),
    Metric(
        "edge_shadow_samples_dropped_total",
        Kind.COUNTER,
        (),
        "Differences that shadowing found and did not log, since enough were.",
    ),
    Metric(
        "edge_revocations",
        Kind.GAUGE,
        (),
        "Revocations that a worker knows; of several workers, the fewest.",
        Merge.MIN,
    ),
    Metric(
        "edge_revocations_age_seconds",
        Kind.GAUGE,
        (),
        "Time since the feed of revocations last answered; of several workers, the longest.",
        Merge.MAX,
    ),
    Metric(
        "edge_revocations_forgotten_total",
        Kind.COUNTER,
        (),
        "Revocations forgotten before their time because there were too many.",
    ),
    Metric(
        "edge_remote_calls_total",
        Kind.COUNTER,
        ("service", "outcome"),
        "Calls to token services and the KMS, by outcome.",
    ),
    Metric(
        "edge_request_edge_seconds",
        Kind.HISTOGRAM,
        ("route",),
        "Time an exchange spent in the edge itself, the origin's time left out.",
    ),
    Metric(
        "edge_request_origin_seconds",
        Kind.HISTOGRAM,
        ("route",),
        "Time from the request going to the origin to the end of its answer.",
    ),
    Metric("edge_filter_seconds_total", Kind.COUNTER, ("filter",), "Time spent in each filter."),
    Metric("edge_filter_calls_total", Kind.COUNTER, ("filter",), "Calls of each filter."),
    Metric("edge_connections", Kind.GAUGE, ("side",), "Connections open now, by side."),
    Metric(
        "edge_connections_max",
        Kind.GAUGE,
        (),
        "Device connections that may be open: as configured, or as file descriptors allow.",
    ),
    Metric(
        "edge_connections_dropped_total",
        Kind.COUNTER,
        ("why",),
        "Device connections that were refused or given up, so that others can be served.",
    ),
    Metric(
        "edge_load_score",
        Kind.GAUGE,
        ("part",),
        "What load shedding goes by, 0 to 1, overall and by part; of several workers, the highest.",
        Merge.MAX,
    ),
    Metric("edge_upgrades_open", Kind.GAUGE, ("route",), "Upgraded connections open now."),
    Metric("edge_upgrades_total", Kind.COUNTER, ("route", "cause"), "Upgraded connections that ended, by cause."),
    Metric(
        "edge_upgrade_bytes_total",
        Kind.COUNTER,
        ("route", "direction"),
        "Bytes relayed over upgraded connections, from devices (in) and to them (out).",
    ),
    Metric(
        "edge_tls_handshakes_total",
        Kind.COUNTER,
        ("side", "result"),
        "TLS handshakes with devices and origins, by how they went.",
    ),
    Metric(
        "edge_certificate_expires_seconds",
        Kind.GAUGE,
        ("file",),
        "Time until the certificate in a file expires; below 0 once it has.",
        Merge.MIN,
    ),
    Metric(
        "edge_certificate_reloads_total",
        Kind.COUNTER,
        ("file", "result"),
        "Changed certificate files that were loaded, or were unusable so that the old ones were kept.",
    ),
    Metric(
        "edge_discovery_addresses",
        Kind.GAUGE,
        ("origin",),
        "Addresses known of an origin with discovery; of several workers, the fewest.",
        Merge.MIN,
    ),
    Metric(
        "edge_discovery_age_seconds",
        Kind.GAUGE,
        ("origin",),
        "Time since the addresses were last found or confirmed; of several workers, the longest.",
        Merge.MAX,
    ),
    Metric(
        "edge_discovery_refreshes_total",
        Kind.COUNTER,
        ("origin", "result"),
        "Looks for the addresses of an origin, by result.",
    ),
    Metric(
        "edge_origin_healthy",
        Kind.GAUGE,
        ("origin", "address"),
        "Whether an address passes its health checks: 1 or 0; 0 when one worker says so.",
        Merge.MIN,
    ),
    Metric(
        "edge_health_checks_total",
        Kind.COUNTER,
        ("origin", "result"),
        "Active health checks, by result.",
    ),
    Metric(
        "edge_origin_addresses",
        Kind.GAUGE,
        ("origin", "state"),
        "Addresses of each origin by state; of several workers, the most.",
        Merge.MAX,
    ),
    Metric(
        "edge_origin_ejections_total",
        Kind.COUNTER,
        ("origin", "address", "cause"),
        "Addresses taken out of rotation for their errors, by the last error.",
    ),
    Metric("edge_origin_connections", Kind.GAUGE, ("origin",), "Connections to each origin, open or being opened."),
    Metric("edge_origin_waiting", Kind.GAUGE, ("origin",), "Requests that wait for a connection to each origin."),
    Metric(
        "edge_breaker_state",
        Kind.GAUGE,
        ("breaker",),
        "State of each circuit breaker: 0 closed, 1 half-open, 2 open; of several workers, the worst.",
        Merge.MAX,
    ),
    Metric(
        "edge_breaker_transitions_total",
        Kind.COUNTER,
        ("breaker", "state"),
        "Changes of a circuit breaker, by the state it came into.",
    ),
    Metric(
        "edge_concurrency_limit",
        Kind.GAUGE,
        ("origin",),
        "Requests that may wait for an origin's answer at a time.",
    ),
    Metric(
        "edge_concurrency_in_flight",
        Kind.GAUGE,
        ("origin",),
        "Requests that wait for an origin's answer now.",
    ),
    Metric(
        "edge_retries_total",
        Kind.COUNTER,
        ("origin", "outcome"),
        "Retries by what came of them, and those that were not made, by why.",
    ),
    Metric(
        "edge_key_ring_revision",
        Kind.GAUGE,
        (),
        "Revision of the key ring in use; of several workers, the oldest.",
        Merge.MIN,
    ),
    Metric(
        "edge_key_ring_age_seconds",
        Kind.GAUGE,
        ("source",),
        "Time since the KMS gave the key ring in use, directly or to the snapshot; of several workers, the longest.",
        Merge.MAX,
    ),
    Metric(
        "edge_key_store_lost",
        Kind.GAUGE,
        (),
        "1 while the KMS answers as if it had lost its store, so that its answers are not taken; or 0.",
        Merge.MAX,
    ),
    Metric(
        "edge_key_age_seconds",
        Kind.GAUGE,
        ("purpose", "key", "state"),
        "Time since each key that a worker holds was made, by its id.",
        Merge.MAX,
    ),
    Metric(
        "edge_key_uses_total",
        Kind.COUNTER,
        ("purpose", "key"),
        "What each key sealed, signed, opened or verified, by its id.",
    ),
    Metric(
        "edge_key_snapshots_total",
        Kind.COUNTER,
        ("result",),
        "Sealed snapshots of the keys that were to be written, by what came of it.",
        known=("saved", "kept", "failed"),
    ),
    Metric(
        "edge_stripped_headers_total",
        Kind.COUNTER,
        (),
        "Identity and internal headers that clients sent and the edge removed.",
    ),
    Metric("edge_access_log_lines_total", Kind.COUNTER, (), "Access log lines handed to the writer."),
    Metric(
        "edge_access_log_dropped_total",
        Kind.COUNTER,
        (),
        "Access log lines dropped because the log's target could not keep up or failed.",
    ),
    Metric(
        "edge_events_dropped_total",
        Kind.COUNTER,
        (),
        "Events that workers could not write to standard error.",
    ),
    Metric(
        "edge_sign_outs_total",
        Kind.COUNTER,
        ("result",),
        "Sign-outs whose session was to be revoked, by what came of it.",
        known=("done", "done_later", "given_up", "pushed_out"),
    ),
    Metric(
        "edge_sign_outs_pending",
        Kind.GAUGE,
        (),
        "Sign-outs that the cookie service has not taken yet.",
    ),
    Metric(
        "edge_token_files_unusable",
        Kind.GAUGE,
        (),
        "Token files that a worker could not use when it read them last, so that it works with what they held before.",
        Merge.MAX,
    ),
    Metric(
        "edge_loop_blocked_total",
        Kind.COUNTER,
        ("filter",),
        "Times that a worker's event loop did not come round, by the filter that held it.",
        known=("",),
    ),
    Metric("edge_workers", Kind.GAUGE, ("state",), "Worker slots by state."),
    Metric("edge_worker_restarts_total", Kind.COUNTER, (), "Workers that died and were replaced."),
    Metric(
        "edge_worker_silences_total",
        Kind.COUNTER,
        (),
        "Workers that were ended because nothing was heard from them.",
    ),
    Metric(
        "edge_config_revision",
        Kind.GAUGE,
        (),
        "Revision of the configuration that is served; of several workers, the oldest.",
        Merge.MIN,
    ),
    Metric("edge_config_workers", Kind.GAUGE, ("hash",), "Workers by the hash of the configuration they serve."),
    Metric(
        "edge_config_changes_total",
        Kind.COUNTER,
        ("kind", "result"),
        "Reloads and rolling restarts that were asked for, by how they ended.",
    ),
    Metric(
        "edge_config_last_change_successful",
        Kind.GAUGE,
        (),
        "1 if the last reload or restart was applied, else 0.",
    ),
    Metric(
        "edge_config_last_change_timestamp_seconds",
        Kind.GAUGE,
        (),
        "When the last reload or restart ended, in epoch seconds; before the first, when the edge started.",
    ),
    Metric(
        "edge_dial_position_percent",
        Kind.GAUGE,
        ("feature", "origin", "device_type"),
        "Where each dial stands, in percent of the devices.",
    ),
    Metric(
        "edge_dial_revision",
        Kind.GAUGE,
        (),
        "Revision of the dials that workers decide by; of several workers, the oldest.",
        Merge.MIN,
    ),
    Metric(
        "edge_dial_workers_behind",
        Kind.GAUGE,
        (),
        "Workers that serve and do not decide by the newest revision of the dials.",
    ),
    Metric(
        "edge_dial_changes_total",
        Kind.COUNTER,
        ("how", "result"),
        "Changes of dials that were asked for, by how and by what came of them.",
    ),
)
"""In the order of the exposition and of docs/metrics.md."""

BY_NAME: Final = {metric.name: metric for metric in METRICS}
