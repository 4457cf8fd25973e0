# syntax=docker/dockerfile:1
# Two images of one wheel and of what uv.lock has for it. `client`: all but inference; no torch. `worker`: inference; torch brings its CUDA.

FROM python:3.12-slim AS build
WORKDIR /src
COPY deploy/build-tools.txt deploy/locked.py deploy/
RUN pip install --no-cache-dir --no-deps --require-hashes -r deploy/build-tools.txt
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY db db
COPY migrations migrations
COPY worker worker
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && python deploy/locked.py export flower dicom dicomweb listen api send web metrics tracing > /wheels/client.txt \
    && python deploy/locked.py export worker cpu dicom dicomweb export metrics tracing > /wheels/worker.txt

FROM python:3.12-slim AS base
# HOME is the tmpfs: some libraries need a home for their cache, and the file system is read-only.
ENV DLR_HOME=/var/lib/dlr \
    HOME=/tmp \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN groupadd --gid 10001 dlr \
    && useradd --uid 10001 --gid dlr --no-create-home --home-dir /var/lib/dlr --shell /usr/sbin/nologin dlr \
    && install --directory --owner dlr --group dlr --mode 0750 /var/lib/dlr /var/lib/dlr/storage /var/lib/dlr/models \
        /var/lib/dlr/secrets /var/lib/dlr/flower
WORKDIR /var/lib/dlr
CMD ["dlr", "--help"]

FROM base AS client
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps --require-hashes -r /wheels/client.txt \
    && pip install --no-cache-dir --no-deps /wheels/*.whl
USER 10001:10001

FROM base AS worker
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps --require-hashes -r /wheels/worker.txt \
    && pip install --no-cache-dir --no-deps /wheels/*.whl
USER 10001:10001
