# syntax=docker/dockerfile:1
# Two images of one wheel. `client`: intake, migrations, Flower, the worklist page; no torch. `worker`: inference; torch brings its CUDA.

FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY db db
COPY migrations migrations
COPY worker worker
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

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
    pip install --no-cache-dir "$(ls /wheels/*.whl)[flower,dicom,dicomweb,send,web,metrics,tracing]"
USER 10001:10001

FROM base AS worker
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(ls /wheels/*.whl)[worker,cpu,dicom,dicomweb,export,metrics,tracing]"
USER 10001:10001
