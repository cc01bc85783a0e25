"""Which route a request takes, and its target in the one form that rules, log and origin see."""

from typing import Final

from edge.contract.reasons import Reason
from edge.contract.route import Route
from edge.control.routes import RouteTable
from edge.http1.errors import BadRequestError
from edge.http1.request import RequestHead
from edge.http1.target import Target, check_target, normalise_target

_STATUS: Final = {Reason.NO_ROUTE: 404, Reason.METHOD_NOT_ALLOWED: 405, Reason.AMBIGUOUS_PATH: 400}


def find_route(routes: RouteTable, head: RequestHead) -> tuple[Target, Route] | BadRequestError:
    """Return where a request goes, or why it goes nowhere. A pure function of its target, host and method."""
    target = check_target(head.target)
    path_problem = ""
    if not isinstance(target, Target):
        path_problem = target.detail
        normal = normalise_target(head.target) if target.reason is Reason.AMBIGUOUS_PATH else target
        retried = check_target(normal) if isinstance(normal, bytes) else normal
        if not isinstance(retried, Target):
            return BadRequestError(400, target.reason, target.detail)
        target = retried
    route = routes.match(head.host, target.path, head.method)
    if path_problem and not (isinstance(route, Route) and route.normalise_path):
        return BadRequestError(400, Reason.AMBIGUOUS_PATH, path_problem)
    if isinstance(route, Route):
        return target, route
    allow = routes.allowed(head.host, target.path) if route is Reason.METHOD_NOT_ALLOWED else ()
    return BadRequestError(_STATUS[route], route, "", allow=allow)
