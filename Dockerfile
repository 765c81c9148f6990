# The gateway alone: no torch, no engine. The same image runs the `switchyard` commands that change the registry.
FROM python:3.11-slim AS build
COPY requirements/gateway.txt /src/requirements/
RUN python -m venv /app && /app/bin/pip install --no-deps --require-hashes -r /src/requirements/gateway.txt
COPY . /src
RUN /app/bin/pip install --no-deps /src

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 switchyard && install -d -o switchyard /state
COPY --from=build /app /app
USER switchyard
WORKDIR /state
ENV PATH=/app/bin:$PATH SWITCHYARD_STATE_DIR=/state SWITCHYARD_HOST=0.0.0.0
EXPOSE 8000
HEALTHCHECK --interval=10s --start-period=20s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=3)"]
ENTRYPOINT ["switchyard"]
CMD ["gateway"]
