"""The user classes, one for each type of device. Locust loads them: no other process may import this."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import count
from random import Random
from typing import ClassVar, Final

import gevent
from gevent.lock import BoundedSemaphore
from locust import task
from locust.contrib.fasthttp import FastHttpUser, ResponseContextManager
from locust.env import Environment

from loadtest.locust.accounts import ACCOUNTS
from loadtest.locust.device_table import DeviceType, read_table
from loadtest.locust.dialled import LEGACY, PASSPORT, UNKNOWN, Board, Standing, bucket_of, serial
from loadtest.locust.expectations import NO_ANSWER, Answer, Sign, judge
from loadtest.locust.factory import Factory
from loadtest.locust.jar import Jar, Taken
from loadtest.locust.scenarios import SCENARIOS, Scenario, to_next_beat
from loadtest.locust.tally import Tally
from loadtest.locust.visits import Step, plan_visit

TABLE: Final = read_table()
TALLY: Final = Tally()
BOARD: Final = Board()
_PATHS: Final = {
    Step.SIGN_IN: ("POST", "/login"),
    Step.BROWSE: ("GET", "/browse"),
    Step.ACCOUNT: ("GET", "/account"),
    Step.PROFILES: ("GET", "/profile"),
    Step.SWITCH: ("POST", "/profile"),
    Step.SIGN_OUT: ("POST", "/logout"),
    Step.SIGNED_OUT: ("GET", "/browse"),
}
_TIMEOUT_S: Final = 15.0
# After a sign-in that could not be done: twice as long each time, less up to a half, or those who wait would keep those
# who check passwords busy for ever. On the clock on the wall: checking one takes as long as ever.
_FIRST_WAIT_S: Final = 2.0
_LONGEST_WAIT_S: Final = 16.0
_REPORT: Final = "x-stub-report"  # of the origin in legacy mode: which difference it reported, or "true"
_numbers: Final[Iterator[int]] = count()
_serials: Final[dict[str, Iterator[int]]] = defaultdict(count)
# Checking a password takes a quarter of a second of a processor: who signs in when they can leaves some for the rest.
_gates: Final = {one.name: BoundedSemaphore(one.sign_ins) for one in SCENARIOS.values() if one.sign_ins}


class Device(FastHttpUser):
    """A device: signs in once, and from then on comes back with the cookies it was given, visit by visit."""

    abstract = True
    kind: ClassVar[str]
    network_timeout = connection_timeout = _TIMEOUT_S

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.client.client.cookiejar = None  # the jar here knows what this device can keep
        number = next(_numbers)
        options = environment.parsed_options
        worker = getattr(environment.runner, "worker_index", 0)
        self._scenario: Scenario = SCENARIOS[getattr(options, "scenario", "reference")]
        self._chance = Random(f"{getattr(options, 'seed', 1)}/{worker}/{number}")  # noqa: S311 - repeatable, not secret
        self._type: DeviceType = TABLE.devices[self.kind]
        self._account = ACCOUNTS[number % len(ACCOUNTS)]
        self._jar = Jar(self._type.cookies)
        self._profiles: list[str] = []
        self._profile = ""
        self._away_s = 0.0
        self._was_in = False
        self._named = UNKNOWN  # the device type of its cookies, as long as they name it
        self._bucket = 0
        self._seen: set[str] = set()
        self._factory: Factory | None = None
        device_type = self._type.device_type
        if self._scenario.rollout is not None and device_type is not None and options is not None:
            self._factory = Factory(options.cookie_service, options.cookie_token)
            self._named = device_type
            prefix = f"LOAD-{device_type.upper()}-{options.seed}"
            self._esn = serial(prefix, next(_serials[device_type]), worker)
            self._bucket = bucket_of(self._esn)

    def on_start(self) -> None:
        """Be counted: who comes must be seen to sign in."""
        TALLY.events["devices"] += 1
        TALLY.events[f"devices {self.kind}"] += 1

    def wait_time(self) -> float:
        """Return the seconds until the next visit, on the run's clock."""
        return to_next_beat(time.time(), TABLE.life_s) if self._scenario.beats else self._away_s

    @task
    def visit(self) -> None:
        """Come, ask for this and that, and go."""
        signed_in = self._was_in and bool(self._jar)
        visit = plan_visit(self._type, self._chance, signed_in=signed_in, habits=self._scenario.habits)
        self._away_s = TABLE.seconds(visit.away_s)
        for step, think_s in visit.steps:
            if step is Step.SIGN_IN:
                self._sign_in()
            else:
                self._take(step)
            if step is not Step.SIGN_OUT and not self._jar and step is not Step.SIGNED_OUT:
                break  # it has nothing to show any more, and signs in when it comes next
            gevent.sleep(TABLE.seconds(think_s))
        self.client.client.close()  # the next visit is hours later

    def _sign_in(self) -> None:
        """Sign in; ask again, later and later, while that cannot be done."""
        wait_s = _FIRST_WAIT_S
        gate = _gates.get(self._scenario.name)
        while True:
            with gate or nullcontext():
                if self._factory is not None and not self._was_in:
                    number = TABLE.device_types[self._named]
                    self._jar.take(self._factory.make(self._account.customer_id, self._esn, number))
                sign = self._take(Step.SIGN_IN)
            if sign is not Sign.BUSY:
                return
            gevent.sleep(wait_s * self._chance.uniform(0.5, 1.0))
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _take(self, step: Step) -> Sign:
        """Ask for one thing, take the cookies of the answer, and judge it."""
        method, path = _PATHS[step]
        stood = BOARD.of(self._named)
        if step is Step.SIGN_OUT:
            TALLY.events["sign_outs_asked"] += 1
        with self.client.request(
            method,
            path,
            name=f"{self.kind} {step}",
            json=self._body(step),
            headers=self._headers(),
            catch_response=True,
        ) as response:
            taken = self._jar.take(response.headers.getlist("set-cookie") if response.headers else ())
            answer, document = _read(response)
            report = response.headers.get(_REPORT) if response.headers else None
            sign = judge(
                step,
                answer,
                taken,
                customer_id=self._account.customer_id,
                high=self._type.high,
                full=self._jar.full,
                legacy=report is not None,
            )
            if self._scenario.rollout is not None and answer.status != NO_ANSWER:
                self._count_mode(report, stood.or_at(BOARD.of(self._named)))
            TALLY.count(self.kind, step, answer, sign)
            if sign in {Sign.EXPECTED, Sign.BUSY}:
                response.success()
            else:
                response.failure(f"{sign.value}: {answer.status} {answer.reason}")
        self._learn(step, sign, taken, document)
        return sign

    def _count_mode(self, report: str | None, stood: Standing) -> None:
        """Count how an answer came, and whether the dial of this device's type allows that."""
        mode = PASSPORT if report is None else LEGACY
        TALLY.modes[f"{self._named} {mode}"] += 1
        if report not in {None, "true"}:
            TALLY.modes[f"{self._named} reported {report}"] += 1
        if not stood.allows(mode, self._bucket):
            TALLY.modes[f"{self._named} against_dial"] += 1
        place = f"{self._named} at {stood.lowest} {mode}"
        if stood.settled and place not in self._seen:
            self._seen.add(place)
            TALLY.modes[place] += 1

    def _learn(self, step: Step, sign: Sign, taken: Taken, document: dict[str, object]) -> None:
        """Remember what an answer says of the profiles, and whether there is a session."""
        if step is Step.SIGN_IN and sign is Sign.EXPECTED and not self._was_in:
            self._was_in = True
            TALLY.events["signed_in"] += 1
        if step is Step.PROFILES and isinstance(profiles := document.get("profiles"), list):
            self._profiles = [str(one["profile_id"]) for one in profiles if isinstance(one, dict)]
        if step in {Step.PROFILES, Step.SWITCH}:
            self._profile = str(document.get("profile_id", self._profile))
        if taken.cleared:
            self._jar.empty()
            self._named, self._factory = UNKNOWN, None  # whatever named it has gone with the cookies

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": self._type.user_agent, "Accept": "application/json"}
        if self._jar:
            headers["Cookie"] = self._jar.header
        if self._type.connection == "close":
            headers["Connection"] = "close"
        return headers

    def _body(self, step: Step) -> dict[str, str] | None:
        if step is Step.SIGN_IN:
            return {"email": self._account.email, "password": self._account.password}
        if step is Step.SWITCH:
            others = [one for one in self._profiles if one != self._profile] or self._profiles
            return {"profile_id": self._chance.choice(others) if others else ""}
        return None


def _read(response: ResponseContextManager) -> tuple[Answer, dict[str, object]]:
    if not response.status_code:
        return Answer(NO_ANSWER, type(getattr(response, "error", None)).__name__), {}
    try:
        read = json.loads(response.content or b"")
    except ValueError:
        read = {}
    document: dict[str, object] = read if isinstance(read, dict) else {}
    customer_id = document.get("customer_id")
    reason = str(document.get("reason", ""))
    return Answer(response.status_code, reason, customer_id if isinstance(customer_id, int) else None), document


class Television(Device):
    """In the living room, in the evening, shared by the household."""

    kind = "television"
    weight = round(TABLE.devices["television"].share)


class IosPhone(Device):
    """Often, and for a moment."""

    kind = "ios_phone"
    weight = round(TABLE.devices["ios_phone"].share)


class AndroidPhone(Device):
    """The same, ended by its system more often."""

    kind = "android_phone"
    weight = round(TABLE.devices["android_phone"].share)


class WebBrowser(Device):
    """At a desk, sometimes one that is not the user's."""

    kind = "web_browser"
    weight = round(TABLE.devices["web_browser"].share)


class LegacyDevice(Device):
    """One place for a cookie, a connection for each request."""

    kind = "legacy_device"
    weight = round(TABLE.devices["legacy_device"].share)
