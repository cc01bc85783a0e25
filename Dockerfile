# syntax=docker/dockerfile:1
# The edge, the KMS and the cookie service in one image: docs/deploying.md says how each is started.
#
#     docker build -t edge-passport .
#
# Both stages have the same base, so that the virtual environment finds its Python again. Name another one, or this one
# by digest, with --build-arg BASE=…
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS builder
# The wheel's hot modules are compiled to C; nothing of the compiler gets into the image.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY edge edge
COPY filters filters
COPY loadtest loadtest
COPY origins_stub origins_stub
COPY passport passport
COPY proto proto
COPY resilience resilience
COPY services services
COPY tokens tokens
RUN HATCH_BUILD_HOOK_ENABLE_CUSTOM=true \
    python -m pip wheel --no-cache-dir --disable-pip-version-check --no-deps --wheel-dir /wheels .
# What is installed beside it: postgres, redis and aws are of use (pyproject.toml).
ARG EXTRAS=postgres,redis
RUN python -m venv /opt/edge-passport \
    && /opt/edge-passport/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
       "$(echo /wheels/edge_passport-*.whl)[${EXTRAS}]" \
    && /opt/edge-passport/bin/python -m pip uninstall --yes --quiet pip setuptools \
    && /opt/edge-passport/bin/edge version | grep --quiet ', compiled$'

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="edge-passport" \
      org.opencontainers.image.description="A reverse proxy that ends every external token at the edge and hands origins one signed identity." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# By number: Kubernetes' runAsNonRoot believes no name. The directory's owner is that of a volume mounted over it for the
# first time.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/edge \
    && install --directory --mode=0755 /etc/edge
COPY --from=builder /opt/edge-passport /opt/edge-passport
ENV PATH=/opt/edge-passport/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
# The only place that is written to: `docker run --read-only` does.
VOLUME /var/lib/edge
USER 10001:10001
EXPOSE 8080 8443
STOPSIGNAL SIGTERM
# Of the admin listener on its default port. Where that is another, name another: --health-cmd.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8081/health', timeout=2)"]
# No shell in between: the signal to stop is the supervisor's, which drains.
ENTRYPOINT ["edge"]
CMD ["run", "--config", "/etc/edge", "--var", "/var/lib/edge"]
