"""The Passport in FastAPI, as dependencies; `passport.asgi.PassportMiddleware` verifies it before."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from passport import asgi
from passport.exchange import ExchangePassport
from passport.identity import Level
from passport.introspector import PassportIntrospector
from passport.require import require


def passport_of(connection: HTTPConnection) -> PassportIntrospector:
    """Return the newest verified Passport of a request; KeyError if it did not go through the middleware."""
    return asgi.passport_of(connection)


def exchange_of(connection: HTTPConnection) -> ExchangePassport:
    """Return the exchange of a request; KeyError if it did not go through the middleware."""
    return asgi.exchange_of(connection)


CurrentPassport = Annotated[PassportIntrospector, Depends(passport_of)]
"""For a parameter of a path operation: `async def browse(passport: CurrentPassport)`."""
CurrentExchange = Annotated[ExchangePassport, Depends(exchange_of)]
"""For a path operation that changes the Passport, or hands it to somebody who calls other services."""


def requiring(
    *, level: Level = Level.LOW, user: bool = True, device: bool = False
) -> Callable[[HTTPConnection], PassportIntrospector]:
    """Return a dependency that asks for what `require` does, and is the Passport: `Depends(requiring(level=…))`."""

    def required(connection: HTTPConnection) -> PassportIntrospector:
        passport = asgi.passport_of(connection)
        require(passport, level=level, user=user, device=device)
        return passport

    return required
