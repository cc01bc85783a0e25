"""All scenarios in their order."""

from loadtest.chaos.certificates import GOOD, LISTED, TRUSTED
from loadtest.chaos.scenarios import (
    Scenario,
    answers,
    bugs,
    clients,
    clocks,
    filters,
    logs,
    mix,
    names,
    origins,
    overload,
    reloads,
    renewals,
    tls,
    tokens,
    workers,
)
from loadtest.chaos.setup import Setup
from loadtest.chaos.token_stage import (
    SUBSCRIBER,
    ClockStage,
    HoursStage,
    OutageStage,
    SharingStage,
    ShortMemoryStage,
    TokenStage,
    with_services,
)

DIRECT = Setup(through_proxy=False)
SHORT_TIMEOUTS = Setup(
    origin={"max_connections": 64, "max_waiting": 32}, routes={"response_head_timeout_s": origins.HEAD_TIMEOUT_S}
)

SLOW_CLIENTS = Setup(
    through_proxy=False,
    calm={"max_connections": 1024},  # a pool as large as the crowd: what is in question is the edge itself
    edge={
        "timeouts.head_read_s": clients.SLOW_S,
        "timeouts.keep_alive_idle_s": clients.SLOW_S,
        "timeouts.idle_s": clients.SLOW_S,
        "timeouts.request_s": 10,
    },
)
ONE_WORKER = Setup(through_proxy=False, workers=1)
FEW_FDS = Setup(through_proxy=False, workers=1, fd_limit=clients.FEW_FDS)
OVERLOAD = Setup(through_proxy=False, workers=1, more_routes=overload.ROUTES)
SHORT_ORIGIN = Setup(
    through_proxy=False, workers=1, more_routes=overload.ROUTES, calm={"concurrency_limit": {"tolerance": 1.2}}
)
LOG_PIPE = Setup(through_proxy=False, workers=1, pipe=logs.PIPE, edge={"access_log.path": "{home}/" + logs.PIPE})
LOG_FULL = Setup(through_proxy=False, edge={"access_log.path": "/dev/full"})
NAMED = Setup(through_proxy=False, dns=True)
# Longer than the filter blocks: the supervisor would end the worker, which is another scenario.
BLOCKING = Setup(through_proxy=False, more_routes=bugs.ROUTES, bugs=True, edge={"edge.worker_silence_s": 15})
LEAKING = Setup(more_routes=bugs.ROUTES, bugs=True)
FAILING = Setup(through_proxy=False, more_routes=filters.ROUTES, bugs=True, edge=filters.LIMITS)
CERTIFICATES = "{home}/certificates"
TLS_ORIGINS = Setup(
    addresses=len(tls.NAMES),
    names=tls.NAMES,
    origin={
        "tls": {
            "enabled": True,
            "ca_file": f"{CERTIFICATES}/{TRUSTED}",
            "crl_file": f"{CERTIFICATES}/{LISTED}",
            "server_name": "localhost",
            "handshake_timeout_s": tls.HANDSHAKE_S,
        }
    },
    edge={"edge.certificate_check_s": tls.CHECK_S},
)
_PAIR = {"certificate_file": f"{CERTIFICATES}/{GOOD}.crt", "key_file": f"{CERTIFICATES}/{GOOD}.key"}
TLS_LISTENER = Setup(
    through_proxy=False,
    edge={
        "listener.tls": {"certificates": [_PAIR]},
        "edge.certificate_check_s": 0.5,
        "listener.local_plain_http": False,
    },
)
TOKENS = Setup(addresses=1, through_proxy=False)
RARE_REFRESH = Setup(addresses=1, through_proxy=False, edge={"services.kms.refresh_s": 300})
OFF_THE_CLOCK = Setup(addresses=1, through_proxy=False, routes={"response_head_timeout_s": clocks.HEAD_TIMEOUT_S})
COOKIE_FAULTS = {
    "killed": "SIGKILL",
    "black_hole": "drops every connect",
    "slow": "takes 5 s longer",
    "errors": "answers 500",
    "garbage": "answers noise",
    "half": "answers half",
}

SCENARIOS = (
    Scenario("worker_killed", "W1", "one worker SIGKILL", workers.worker_killed, DIRECT),
    Scenario("worker_stopped", "W1", "one worker SIGSTOP", workers.worker_stopped, DIRECT),
    Scenario(
        "sigterm_drain", "W2", "SIGTERM with long polls and uploads under way", workers.sigterm_drain,
        Setup(through_proxy=False, edge={"timeouts.drain_s": workers.DRAIN_S}),
    ),
    Scenario("rolling_restart", "W3", "all workers replaced one by one", reloads.rolling_restart, DIRECT),
    Scenario("reloads_100", "W3", "100 reloads of changed configurations", reloads.reloads_100, DIRECT),
    Scenario("origin_killed", "B1", "one of 4 addresses SIGKILL", origins.origin_killed, DIRECT),
    Scenario("origins_down", "B2", "all addresses refuse", origins.origins_down),
    Scenario("black_hole", "B3", "one of 4 drops every connect", origins.black_hole),
    Scenario("accept_hang", "B4", "all 4 accept and never answer", origins.accept_hang, SHORT_TIMEOUTS),
    Scenario("slow_origin", "B5", "one of 4 takes 2 s longer", origins.slow_origin),
    Scenario("slow_drip", "B6", "all 4 answer a byte every 20 ms", origins.slow_drip),
    Scenario("reset_mid_body", "B7", "a third of the answers reset in their body", answers.reset_mid_body),
    Scenario("cut_chunked", "B8", "a third of the answers cut in a chunked body", answers.cut_chunked),
    Scenario("half_close", "B9", "a third of the answers half-closed in their body", answers.half_close),
    Scenario("idle_close_race", "B10", "connections closed as they are used again", answers.idle_close_race, DIRECT),
    Scenario("early_answer", "B11", "uploads answered early, two answers for one request", answers.early_answer),
    Scenario("garbage_origin", "B12", "a third of the answers are none: five kinds", answers.garbage_origin),
    Scenario("half_errors", "B13", "half of the answers are 500", answers.half_errors, DIRECT),
    Scenario("flapping", "B14", "one of 4 refuses every other second", origins.flapping),
    Scenario("broken_reload", "W4", "configurations that are wrong", reloads.broken_reload, DIRECT),
    Scenario("loop_blocked", "W5", "a filter blocks one worker's event loop for 5 s", bugs.loop_blocked, BLOCKING),
    Scenario("log_blocked", "W6", "nobody reads the access log's pipe", logs.log_blocked, LOG_PIPE),
    Scenario("log_full", "W6", "the access log's disk is full", logs.log_full, LOG_FULL),
    Scenario("slow_clients", "M1", "500 slow heads, bodies and readers each", clients.slow_clients, SLOW_CLIENTS),
    Scenario("idle_connections", "M2", "10,000 idle connections on one worker", clients.idle_connections, ONE_WORKER),
    Scenario("big_heads", "M3", "huge heads and bodies, tiny chunks", clients.big_heads),
    Scenario("pipelining", "M4", "100,000 requests that nobody reads the answers of", clients.pipelining, DIRECT),
    Scenario("memory_limit", "M5", "one worker may have 300 MiB, under big_heads", bugs.memory_limit, LEAKING),
    Scenario("fd_limit", "M6", "more connections than file descriptors", clients.fd_limit, FEW_FDS),
    Scenario("overload", "L1", "three times what a worker can do", overload.overload, OVERLOAD),
    Scenario("overload_origin", "L1", "three times what an origin can do", overload.overload_origin, SHORT_ORIGIN),
    Scenario("noisy_client", "L2", "one of 8 addresses asks for 10 times the rest", overload.noisy_client, ONE_WORKER),
    Scenario("dns_faults", "N1", "a name server that fails in every way", names.dns_faults, NAMED),
    Scenario("tls_faults", "T1", "origins whose certificates are no good", tls.tls_faults, TLS_ORIGINS),
    Scenario("bad_certificate", "T2", "the edge's certificate file cut in half", tls.bad_certificate, TLS_LISTENER),
    Scenario("filters_fail", "S8", "every filter of a request, in every way", filters.filters_fail, FAILING),
    Scenario("random_mix", "Z1", "everything at random", mix.random_mix),
    *(
        Scenario(
            f"cookie_{fault}", "S1", f"the cookie service: {text}", with_services(renewals.cookie_fails(fault)),
            TOKENS, OutageStage,
        )
        for fault, text in COOKIE_FAULTS.items()
    ),
    Scenario(
        "subscriber_killed", "S1", "the subscriber service: SIGKILL",
        with_services(renewals.fails(SUBSCRIBER, "killed")), TOKENS, OutageStage,
    ),
    *(
        Scenario(name, row, text, with_services(run), RARE_REFRESH if run is tokens.forged_tokens else TOKENS, make)
        for name, row, text, run, make in (
            ("kms_down", "K1", "the KMS ended for good, workers and edge replaced", tokens.kms_down, TokenStage),
            ("same_second", "S3", "all cookies expire in the same second", tokens.same_second, SharingStage),
            ("one_cookie_200", "S4", "200 requests at once with one cookie", tokens.one_cookie_200, SharingStage),
            ("key_rotation", "K4", "two rotations through all states", tokens.key_rotation, TokenStage),
            ("revoked", "S5", "people signed out everywhere", tokens.revoked, TokenStage),
            ("cancelled", "S5", "members who cancel", tokens.cancelled, TokenStage),
            ("forged_tokens", "S6", "forged tokens in an outage", tokens.forged_tokens, OutageStage),
            ("rescheduled_replay", "S7", "a rescheduled cookie again", tokens.rescheduled_replay, ShortMemoryStage),
            ("skewed_service", "C2", "the cookie service a minute off", tokens.skewed_service, HoursStage),
        )
    ),
    Scenario(
        "edge_clock", "C1", "the edge's clock a minute to a day off", with_services(clocks.edge_clock),
        OFF_THE_CLOCK, ClockStage,
    ),
)  # fmt: skip
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
# Where another proxy does the same work: origins that fail, workers that end, clients that are slow, many or greedy.
REFERENCED = {one.name for one in SCENARIOS if one.row[0] in "BM" and one.row != "M5"} | {
    "worker_killed",
    "sigterm_drain",
}
