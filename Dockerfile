# One image for web, worker, housekeeping, beat, prestart and the MLflow server. docker-compose.yml
# has their commands.

FROM python:3.11-slim-bookworm AS build
COPY requirements.txt constraints.txt /
RUN python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --upgrade pip \
    && /venv/bin/pip install --no-cache-dir --requirement /requirements.txt

FROM python:3.11-slim-bookworm
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin charrnn \
    && install --directory --mode=700 --owner=charrnn --group=charrnn /state /mlflow
COPY --from=build /venv /venv
WORKDIR /app
COPY . .
RUN /venv/bin/python -m compileall -q charrnn_site generator ml
# The root file system is read-only at run time, so /tmp is the home folder.
ENV PATH=/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/state HOST=0.0.0.0 PORT=8000
USER 10001:10001
VOLUME /state
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, sys; from generator.operations.addresses import get; sys.exit(get('127.0.0.1', 8000, '/healthz', os.environ.get('ALLOWED_HOSTS', 'localhost').split(','))[0] != 200)"]
CMD ["python", "manage.py", "process", "web"]
