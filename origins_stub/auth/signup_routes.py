"""Signing up in three steps: an account, a plan, and then the membership that the subscriber service is told of."""

import asyncio
from typing import Literal

import pydantic
from aiohttp import web

from origins_stub.auth.credentials import Credentials, NoUser
from origins_stub.auth.members import Members
from origins_stub.auth.signups import Signup, SignupStore
from origins_stub.auth.users import User
from origins_stub.kit.answers import StrictModel, json_answer, problem, read_json
from passport import Level, PassportIntrospector, PassportMutator, Source, UserAction, UserPart, require
from passport.aiohttp import exchange_of, passport_of


class SignupBody(StrictModel):
    """What a device sends to make an account."""

    email: str = pydantic.Field(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")
    password: pydantic.SecretStr = pydantic.Field(min_length=8, max_length=1024)


class PlanBody(StrictModel):
    """What a device sends to choose a plan."""

    plan: Literal["basic", "standard", "premium"]


class SignupRoutes:
    """The three steps. The session in which they are made begins with the first and ends with the last."""

    def __init__(
        self, credentials: Credentials, signups: SignupStore, members: Members, mutator: PassportMutator
    ) -> None:
        self._credentials = credentials
        self._signups = signups
        self._members = members
        self._mutator = mutator

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_post("/v1/signup", self._start)
        app.router.add_post("/v1/signup/plan", self._choose_plan)
        app.router.add_post("/v1/signup/complete", self._complete)

    async def _start(self, request: web.Request) -> web.Response:
        body = await read_json(request, SignupBody)
        if isinstance(body, web.Response):
            return body
        user = await self._credentials.register(body.email, body.password.get_secret_value())
        if user is NoUser.OVERLOADED:
            return problem(503, "overloaded", "Too many passwords are being checked.")
        if not isinstance(user, User):
            return problem(409, "email_taken", "There is an account with this e-mail address.")
        part = UserPart.of(Source.USER_CREDENTIALS, Level.HIGHEST, user.customer_id, user.account_owner_id)
        self._mutator.replace_user(exchange_of(request), part, UserAction.USER_SIGNUP_STARTED)
        return json_answer(200, {"action": UserAction.USER_SIGNUP_STARTED.name, "customer_id": user.customer_id})

    async def _choose_plan(self, request: web.Request) -> web.Response:
        customer_id, _ = _user_of(passport_of(request))
        body = await read_json(request, PlanBody)
        if isinstance(body, web.Response):
            return body
        if not await asyncio.to_thread(self._signups.choose_plan, customer_id, body.plan):
            return _not_open()
        # The plan is in no Passport: it is the subscriber service's to know.
        self._mutator.change_user(exchange_of(request), UserAction.USER_SIGNUP_STEP_DONE)
        return json_answer(200, {"action": UserAction.USER_SIGNUP_STEP_DONE.name, "plan": body.plan})

    async def _complete(self, request: web.Request) -> web.Response:
        customer_id, account_owner_id = _user_of(passport_of(request))
        signup = await asyncio.to_thread(self._signups.find, customer_id)
        if signup is Signup.NOT_OPEN:
            return _not_open()
        if signup is Signup.WITHOUT_PLAN:
            return problem(409, "plan_missing", "A plan has to be chosen first.")
        # Before the session begins: its renewals ask there whether this is a member.
        if not await self._members.add(customer_id, account_owner_id):
            return problem(503, "subscriber_unavailable", "The membership could not be started.")
        await asyncio.to_thread(self._signups.complete, customer_id)
        part = UserPart.of(Source.USER_CREDENTIALS, Level.HIGH, customer_id, account_owner_id)
        self._mutator.replace_user(exchange_of(request), part, UserAction.USER_SIGNUP_COMPLETED)
        return json_answer(200, {"action": UserAction.USER_SIGNUP_COMPLETED.name})


def _user_of(passport: PassportIntrospector) -> tuple[int, int]:
    """Return customer and account owner of a user of level HIGH; raise RequirementNotMet when there is none."""
    require(passport, level=Level.HIGH)
    return passport.customer_id or 0, passport.account_owner_id or 0


def _not_open() -> web.Response:
    return problem(409, "signup_not_open", "This user has no sign-up under way.")
