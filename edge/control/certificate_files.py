"""The certificate files that the configuration names: loaded once before anything starts, to say what is wrong."""

from collections.abc import Callable, Iterator

from edge.control.checks import Problem
from edge.control.edge_file import EdgeFile
from edge.control.origins_file import OriginsFile
from edge.net.tls import BadCertificateError
from edge.net.tls_listener import ListenerCertificates


def check_edge_certificates(file: EdgeFile) -> Iterator[Problem]:
    """Check the files that edge.yaml names; reads them."""
    settings = file.listener.tls.settings(file.timeouts.tls_handshake_s)
    if settings is not None:
        problem = _problem(lambda: ListenerCertificates(settings))
        if problem:
            yield ("listener", "tls"), problem
    services = file.services
    for name, service in (("kms", services.kms), ("cookie", services.cookie), ("renewals", services.renewals)):
        problem = _problem(service.tls.context) if service.url.startswith(("https:", "rediss:")) else ""
        if problem:
            yield ("services", name, "tls"), problem


def check_origin_certificates(file: OriginsFile) -> Iterator[Problem]:
    """Check the files that origins.yaml names; reads them."""
    for name, row in file.origins.items():
        problem = _problem(row.tls.context) if row.tls.enabled else ""
        if problem:
            yield ("origins", name, "tls"), problem


def _problem(load: Callable[[], object]) -> str:
    try:
        load()
    except BadCertificateError as error:
        return f"{error}: name another file, or mend this one; `edge dev-certs` makes some for development"
    return ""
