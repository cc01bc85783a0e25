"""The WSGI app: Flask on waitress."""

import waitress
from flask import Flask, Response

from loadtest.bench_origin.apps.app import HOST, NOBODY, page, read_arguments
from loadtest.bench_origin.credentials import TRUST_DOMAIN
from loadtest.bench_origin.settings import Reads
from passport.flask import current_passport, receive_passports


def main() -> None:
    """Serve."""
    app = read_arguments()
    reads = app.reads is Reads.PASSPORT
    flask = Flask("bench")
    if reads:
        receive_passports(flask, app, TRUST_DOMAIN)

    @flask.get("/browse")
    def browse() -> Response:
        return Response(page(current_passport().customer_id if reads else NOBODY), content_type="application/json")

    waitress.serve(flask, host=HOST, port=app.port, threads=8)


if __name__ == "__main__":
    main()
