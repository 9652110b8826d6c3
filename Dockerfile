# One image for the hub and for a witness: no shell is needed to run it, no root, no writable root file system.
#   docker build -t puente .
# The base image is named by tag so that rebuilding takes its security fixes; pin a digest where you release from.

FROM python:3.11-slim AS build
WORKDIR /build
# 1. Dependencies: exactly the wheels whose hashes stand in the lock. Nothing is resolved anew, nothing is compiled.
COPY requirements/run.txt requirements/run.txt
RUN python -m venv /opt/puente \
 && /opt/puente/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps \
        --only-binary :all: --require-hashes -r requirements/run.txt
# 2. Ourselves, last, so that a change of code does not fetch the dependencies again. The build backend is pinned in
#    pyproject.toml by version; it stays in this stage.
COPY pyproject.toml README.md LICENSE ./
COPY certs certs
COPY policies policies
COPY feeds feeds
COPY exchange exchange
RUN /opt/puente/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps .

FROM python:3.11-slim
# Directories are made here because a new named volume takes its owner and mode from the image.
RUN groupadd --gid 10001 puente \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin puente \
 && install -d -o puente -g puente -m 0700 \
        /var/lib/puente /var/lib/puente-keys /var/lib/puente-anchors \
        /var/lib/witness /var/lib/witness-us-a /var/lib/witness-us-b /var/lib/witness-mx-a /var/lib/witness-mx-b \
 && install -d -o puente -g puente -m 0755 /var/lib/postgres-password
COPY --from=build /opt/puente /opt/puente
ENV PATH=/opt/puente/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/puente
EXPOSE 8443 8444
# Is the process alive? It asks itself over loopback and sends no secret, so the certificate's name is not its business.
# A halted ledger stays "healthy" here on purpose: killing the process would not mend it (docs/operations.md, HALT).
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-c", "import ssl, urllib.request; urllib.request.urlopen('https://127.0.0.1:8443/healthz', timeout=4, context=ssl._create_unverified_context())"]
ENTRYPOINT ["puente"]
CMD ["serve", "--home", "/var/lib/puente"]
