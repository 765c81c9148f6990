# Two images: `--target trainer` has torch and what trains, the other one neither torch nor an engine. Both have the same
# `switchyard`, and run its commands that change the registry. The base is named by its digest, packages by their hashes:
# what is built is what was looked at. To move on: docs/security.md.
ARG PYTHON=python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3
FROM ${PYTHON} AS tools
COPY requirements/bootstrap.txt requirements/build.txt /src/requirements/
RUN python -m venv /build && /build/bin/pip install --no-deps --require-hashes -r /src/requirements/bootstrap.txt -r /src/requirements/build.txt

FROM tools AS wheel
COPY . /src
RUN /build/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels /src

FROM tools AS build
COPY requirements/gateway.txt /src/requirements/
RUN python -m venv --without-pip /app && /build/bin/uv pip install --python /app/bin/python --no-deps --require-hashes -r /src/requirements/gateway.txt
COPY --from=wheel /wheels /wheels
RUN /build/bin/uv pip install --python /app/bin/python --no-deps --no-index /wheels/*.whl

FROM tools AS build-trainer
COPY requirements/trainer.txt /src/requirements/
RUN python -m venv --without-pip /app && /build/bin/uv pip install --python /app/bin/python --no-deps --require-hashes -r /src/requirements/trainer.txt
COPY --from=wheel /wheels /wheels
RUN /build/bin/uv pip install --python /app/bin/python --no-deps --no-index /wheels/*.whl

# What engines may read lies in two folders that are volumes of their own: see deploy/compose.yaml.
FROM ${PYTHON} AS run
RUN useradd --create-home --uid 10001 switchyard && install -d -o switchyard /state /state/adapters /state/base
USER switchyard
WORKDIR /state
ENV PATH=/app/bin:$PATH SWITCHYARD_STATE_DIR=/state
ENTRYPOINT ["switchyard"]

FROM run AS trainer
COPY --from=build-trainer /app /app
CMD ["trainer"]

FROM run AS gateway
COPY --from=build /app /app
ENV SWITCHYARD_HOST=0.0.0.0
EXPOSE 8000
HEALTHCHECK --interval=10s --start-period=20s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=3)"]
CMD ["gateway"]
