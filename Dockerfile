# Two images: `--target trainer` has torch and what trains, the other one neither torch nor an engine. Both have the same
# `switchyard`, and run its commands that change the registry.
FROM python:3.11-slim AS build
COPY requirements/gateway.txt /src/requirements/
RUN python -m venv /app && /app/bin/pip install --no-deps --require-hashes -r /src/requirements/gateway.txt
COPY . /src
RUN /app/bin/pip install --no-deps /src

FROM python:3.11-slim AS build-trainer
COPY requirements/trainer.txt /src/requirements/
RUN python -m venv /app && /app/bin/pip install --no-deps --require-hashes -r /src/requirements/trainer.txt
COPY . /src
RUN /app/bin/pip install --no-deps /src

FROM python:3.11-slim AS run
RUN useradd --create-home --uid 10001 switchyard && install -d -o switchyard /state
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
