"""The Passport in Flask: verified before the application, and there for its views."""

from typing import Unpack

from flask import Flask, Response, request

from passport import wsgi
from passport.exchange import ExchangePassport
from passport.introspector import PassportIntrospector
from passport.receiving import PassportKeySource, ReceivingOptions, not_met
from passport.require import RequirementNotMet


def receive_passports(
    app: Flask, source: PassportKeySource, trust_domain: str, **options: Unpack[ReceivingOptions]
) -> None:
    """Let only requests to `app` through that bring one valid Passport, as `passport.wsgi.PassportMiddleware` does.

    What `require` finds missing in a view is answered with 401 or 403.
    """
    app.wsgi_app = wsgi.PassportMiddleware(app.wsgi_app, source, trust_domain, **options)  # type: ignore[method-assign]
    app.register_error_handler(RequirementNotMet, _answer)


def current_passport() -> PassportIntrospector:
    """Return the newest verified Passport of the request that is served; KeyError without the middleware."""
    return wsgi.passport_of(request.environ)


def current_exchange() -> ExchangePassport:
    """Return the exchange of the request that is served; KeyError if it did not go through the middleware."""
    return wsgi.exchange_of(request.environ)


def _answer(missed: RequirementNotMet) -> Response:
    rejection = not_met(missed)
    return Response(rejection.body, rejection.status, content_type="application/json")
