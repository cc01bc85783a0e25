"""Keys that come and go, cookies that expire together, people who are out: K1, K3 to K5, S3 to S7, C2."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from functools import partial

from edgepb.cookie.v1 import cookie_service_pb2 as pb

from loadtest.bench.failure import BenchError
from loadtest.chaos.devices import Lives
from loadtest.chaos.faults import Fault, Kind
from loadtest.chaos.outcomes import Outcome
from loadtest.chaos.person import Person
from loadtest.chaos.plan import Stream
from loadtest.chaos.result import Result, at_most, is_true
from loadtest.chaos.scenarios.renewals import observe_devices
from loadtest.chaos.setup import CALM
from loadtest.chaos.stage import START_AHEAD_S
from loadtest.chaos.token_stage import COOKIE, KMS, OVERLAP_S, SUBSCRIBER, TokenStage
from tokens.cookie import PURPOSE

START_S, MORE_S = 3.0, 1.0
PATIENCE_S = 120.0
PARALLEL, ROUNDS = 200, 6
HELD_UP = Fault(Kind.LATENCY, delay_s=0.1)
OUT_S = 2.0
CONNECTIONS = 16  # of one's own: enough that every worker is asked
HOUR_S = 3600
ROTATIONS = 2


async def kms_down(stage: TokenStage) -> Result:
    """End the KMS for good, replace all workers and the cookie service, and start another edge without it."""
    before = set(await stage.worker_pids())
    codes: list[int] = []

    async def down() -> None:
        await stage.kill_service(KMS)
        codes.append((await stage.command("restart"))[0])
        await stage.kill_service(COOKIE)
        await stage.revive_service(COOKIE)

    seen = await observe_devices(stage, down)
    replaced = before.isdisjoint(await stage.worker_pids())
    await stage.stop_edge()
    await stage.start_edge()
    with_kms_s, start_s = stage.starts_s
    (person,) = stage.people(0)
    known = await person.asks_at_once(CONNECTIONS)
    return seen.result(
        extra={"start_s": start_s, "start_s_with_kms": with_kms_s, "restart_s": round(seen.seen.struck.seconds, 2)},
        bars=[
            is_true("exit_codes", codes == [0], "0"),
            is_true("replaced", replaced, "all workers"),
            is_true("start_s", start_s <= max(START_S, with_kms_s + MORE_S), "<= 3 s, or 1 s more than with the KMS"),
            is_true("known", known == {200}, "200 from an edge that was started without the KMS"),
        ],
    )


async def same_second(stage: TokenStage) -> Result:
    """Let all cookies expire in one second, none of them renewed before."""
    phases, lives = stage.phases, stage.course.lives
    ahead_s = START_AHEAD_S + phases.warm_up_s + phases.normal_s + 1.0
    late = Lives(lives.life_s, lives.life_s - 1, lives.rescheduled_s)
    stage.sign_in([int(lives.life_s - ahead_s)] * stage.course.devices, late)
    seen = await observe_devices(stage, _nothing)
    renewed = seen.calls.get("renewed", 0)
    return seen.result(
        healing=False,
        slower=2.0,
        extra={
            "renewed": renewed,
            "late": seen.calls.get("timeout", 0),
            "workers": stage.workers,
            "sharing": await stage.calls("renewals"),
        },
        bars=[
            at_most("renewed", renewed, stage.course.devices),
            at_most("healed_s", seen.healed_s(), seen.healing_s, " s"),
            at_most("left_rescheduled", seen.left(), 0),
            is_true("devices_renewed", all(one.claims.generation > 1 for one in seen.jars.last()), "all"),
        ],
    )


async def one_cookie_200(stage: TokenStage) -> Result:
    """Ask 200 times at once with one expired cookie; in every other round somebody asks first, and hangs up."""
    stage.sign_in([0] * stage.course.devices)  # nobody else is due
    lives = stage.course.lives
    rounds = 2 if stage.settings.quick else ROUNDS
    statuses: set[int] = set()
    calls: list[int] = []
    tokens: list[int] = []

    async def crowd() -> None:
        for number, person in enumerate(stage.people(*[lives.life_s + HOUR_S] * rounds)):
            before = sum((await stage.calls()).values())
            twins = [person.twin() for _ in range(PARALLEL)]
            if number % 2:
                await person.twin().hang_up(HELD_UP.delay_s / 4)
            statuses.update(await asyncio.gather(*(one.ask() for one in twins)))
            tokens.append(len({one.token for one in twins}))
            calls.append(sum((await stage.calls()).values()) - before)

    async def strike() -> None:
        await stage.service_fault(COOKIE, HELD_UP)
        await crowd()
        await stage.service_fault(COOKIE, Fault())

    seen = await observe_devices(stage, strike)
    sharing = await stage.calls("renewals")
    return seen.result(
        healing=False,
        slower=None,
        extra={"calls": calls, "tokens": tokens, "statuses": sorted(statuses), "sharing": sharing},
        bars=[
            is_true("calls", set(calls) == {1}, "1 in each round"),
            is_true("tokens", set(tokens) == {1}, "1 new one in each round"),
            is_true("statuses", statuses == {200}, "200"),
        ],
    )


async def key_rotation(stage: TokenStage) -> Result:
    """Take the cookies' key through all its states, twice; nothing is forced, and no cookie is due for it."""
    refused: list[set[int]] = []
    took_s: list[float] = []

    async def rotate() -> None:
        for _ in range(ROTATIONS):
            began = time.monotonic()
            (old,) = stage.people(0)
            former = await _primary(stage)
            _, answer = await stage.ask_service(KMS, "POST", "/v1/key-sets/cookie/versions", "operator")
            added = str(json.loads(answer)["key_id"])
            await _moved(stage, added, "ACTIVE")  # which deactivates the former
            await stage.learn_keys()
            await _moved(stage, former, "DESTROYED")  # not before the last cookie under it was renewed in its time
            await _until(partial(_all, old, 401), "every worker refuses the destroyed key's token")
            refused.append(await old.asks_at_once(CONNECTIONS))
            took_s.append(round(time.monotonic() - began, 1))

    seen = await observe_devices(stage, rotate)
    return seen.result(
        healing=False,
        extra={"rotation_s": took_s},
        bars=[
            is_true("destroyed", refused == [{401}] * ROTATIONS, "its tokens are 401 on every worker"),
            at_most("rescheduled", sum(not one.full for one in seen.jars), 0),
        ],
    )


async def revoked(stage: TokenStage) -> Result:
    """Sign people out everywhere, one after the other."""
    people = stage.people(*[0] * 3)
    before: list[set[int]] = []
    out_s: list[float] = []

    async def revoke() -> None:
        for person in people:
            before.append(await person.asks_at_once(CONNECTIONS))
            request = pb.RevokeRequest(reason=pb.SIGN_OUT_EVERYWHERE, customer_id=person.customer_id)
            await stage.ask_service(COOKIE, "POST", "/v1/revocations", "auth", request.SerializeToString())
            began = time.monotonic()
            await _until(partial(_all, person, 401), "every worker knows who is out")
            out_s.append(round(time.monotonic() - began, 2))

    seen = await observe_devices(stage, revoke)
    return seen.result(
        healing=False,
        extra={"out_s": out_s},
        bars=[
            is_true("before", before == [{200}] * len(people), "200"),
            at_most("out_s", max(out_s), OUT_S, " s"),
        ],
    )


async def cancelled(stage: TokenStage) -> Result:
    """Let members cancel: one whose cookie is due, and one to whom the edge gave a rescheduled one meanwhile."""
    lives = stage.course.lives
    due, rescheduled = stage.people(lives.due_s, lives.life_s + 1)
    said: dict[str, int] = {}

    async def cancel() -> None:
        await stage.service_fault(COOKIE, Fault(Kind.REFUSE))
        said["during"] = await rescheduled.ask()
        for person in (due, rescheduled):
            gone = {"account_owner_id": person.customer_id, "member": False}
            path = f"/v1/subscribers/{person.customer_id}"
            said["cancel"] = (await stage.ask_service(SUBSCRIBER, "PUT", path, "operator", gone))[0]
        await stage.service_fault(COOKIE, Fault())
        await _until(lambda: _out(rescheduled), "the one with the rescheduled cookie is out")
        await _until(lambda: _out(due), "the one whose cookie was due is out")

    seen = await observe_devices(stage, cancel)
    return seen.result(
        healing=False,
        extra={"said": said},
        bars=[
            is_true("during", said["during"] == 200, "200"),
            is_true("cookies", not due.jar.field and not rescheduled.jar.field, "cleared"),
        ],
    )


async def rescheduled_replay(stage: TokenStage) -> Result:
    """Show a rescheduled cookie again and again: it is renewed until its owner's next renewal, and a little longer."""
    (person,) = stage.people(stage.course.lives.life_s + 1)
    said: dict[str, object] = {}

    async def replay() -> None:
        await stage.service_fault(COOKIE, Fault(Kind.REFUSE))
        said["during"] = await person.ask()
        copy = person.twin()
        await stage.service_fault(COOKIE, Fault())
        await _until(lambda: _renewed(stage, person), "it is renewed")
        meanwhile: set[int] = set()

        async def renewed_next() -> bool:
            meanwhile.update(await copy.asks_at_once(1))
            await person.ask()
            return _generation(stage, person) > _generation(stage, copy) + 1

        await _until(renewed_next, "its owner is renewed for the next time")
        said["meanwhile"] = sorted(meanwhile)
        await asyncio.sleep(OVERLAP_S)
        await _until(partial(_all, copy, 401), "it is refused everywhere")
        said["after"] = sorted(await copy.asks_at_once(CONNECTIONS))

    seen = await observe_devices(stage, replay)
    return seen.result(
        healing=False,
        extra=said,
        bars=[
            is_true("during", said["during"] == 200, "200"),
            is_true("meanwhile", said["meanwhile"] == [200], "200"),
            is_true("after", said["after"] == [401], "401"),
        ],
    )


async def forged_tokens(stage: TokenStage) -> Result:
    """Show tokens that nobody sealed, or not for here, while the cookie service is away; each is refused."""
    lines = stage.forged()
    file = stage.home / "forged"
    file.write_text("\n".join(lines))
    shown: list[Outcome] = []
    kms_calls: list[int] = []
    showing: list[asyncio.Task[None]] = []

    async def show() -> None:
        before = await stage.calls(KMS)
        async with stage.load(Stream("forged", stage.settings.rate / 2, f"/{CALM}"), cookies=file) as load:
            await load.phase(stage.phases.fault_s / 2)
        shown.extend(load.outcomes)
        after = await stage.calls(KMS)
        kms_calls.append(sum(after.values()) - sum(before.values()))

    async def strike() -> None:
        await stage.service_fault(COOKIE, Fault(Kind.REFUSE))
        showing.append(asyncio.create_task(show()))  # while the fault lasts, which is then no longer for it

    async def heal() -> None:
        await asyncio.gather(*showing)
        await stage.service_fault(COOKIE, Fault())

    seen = await observe_devices(stage, strike, heal)
    accepted = sum(one.status not in {401, 503} for one in shown)  # 503: while the KMS is asked for the key
    return seen.result(
        extra={"forged": len(shown), "forged_accepted": accepted, "kms_calls": kms_calls[0]},
        bars=[
            at_most("forged_accepted", accepted, 0),
            at_most("cookies_given", sum(one.cleared for one in shown), 0),
            at_most("kms_calls", kms_calls[0], 2 * stage.workers),
        ],
    )


async def skewed_service(stage: TokenStage) -> Result:
    """Let the cookie service's clock be a minute ahead, then a minute behind; cookies live for hours."""
    skews_s, phases, due_s = (60.0, -60.0), stage.phases, stage.course.lives.due_s
    within_s = int(phases.warm_up_s + phases.normal_s + phases.fault_s)
    stage.sign_in([due_s - number % within_s for number in range(stage.course.devices)])

    async def skew() -> None:
        for skew_s in skews_s:
            await stage.kill_service(COOKIE)
            await stage.start_service(COOKIE, skew_s)
            await stage.service_fault(COOKIE, Fault())
            await asyncio.sleep(stage.phases.fault_s / 2)

    seen = await observe_devices(stage, skew)
    return seen.result(healing=False, bars=[at_most("left_rescheduled", seen.left(), 0)])


async def _primary(stage: TokenStage) -> str:
    """Return the id of the key that protects cookies."""
    _, answer = await stage.ask_service(KMS, "GET", "/v1/key-sets", "operator")
    (primary,) = [one for one in json.loads(answer)["versions"] if one["purpose"] == PURPOSE and one["primary"]]
    return str(primary["key_id"])


async def _moved(stage: TokenStage, key_id: str, state: str) -> None:
    """Ask the KMS to move a key until it lets it be."""

    async def done() -> bool:
        status, _ = await stage.ask_service(KMS, "POST", f"/v1/keys/{key_id}/state", "operator", {"state": state})
        return status == 200

    await _until(done, f"the key may be {state}")


async def _all(person: Person, status: int) -> bool:
    return await person.asks_at_once(CONNECTIONS) == {status}


async def _out(person: Person) -> bool:
    return await person.ask() == 401


async def _renewed(stage: TokenStage, person: Person) -> bool:
    await person.ask()
    claims = stage.claims(person)
    return claims is not None and not claims.rescheduled_count


def _generation(stage: TokenStage, person: Person) -> int:
    claims = stage.claims(person)
    return 0 if claims is None else claims.generation


async def _nothing() -> None:
    """Do no harm: the clock does it."""


async def _until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not await condition():
        if time.monotonic() > deadline:
            raise BenchError(f"Waited {PATIENCE_S:g} s in vain until {what}")
        await asyncio.sleep(0.05)
