# Three images from one file: portal, worker-cpu (OpenVINO) and worker-gpu (torch).
#   docker build --target portal -t pleura-portal .
# Compilers, pip's cache and the build's files stay behind in the build stages.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/pleura
ENV PATH=/opt/pleura/bin:$PATH
WORKDIR /app

# Packages come before the program: a change of the program installs none of them anew.
FROM build AS build-portal
COPY requirements/portal.txt requirements/
RUN pip install --require-hashes -r requirements/portal.txt
COPY pyproject.toml README.md LICENSE ./
COPY portal portal
COPY worker worker
COPY ml ml
COPY xray_files xray_files
# Of the shipped models the portal registers the cards; the weights belong to the workers.
RUN pip install --no-deps --no-build-isolation -e . && pip uninstall -y setuptools pip \
 && find ml/weights -type f ! -name CURRENT ! -name card.json -delete

FROM build AS build-worker-cpu
COPY requirements/worker-cpu.txt requirements/
RUN pip install --require-hashes -r requirements/worker-cpu.txt
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
COPY ml ml
COPY xray_files xray_files
COPY portal portal
RUN pip install --no-deps --no-build-isolation -e . && pip uninstall -y setuptools pip

FROM build AS build-worker-gpu
COPY requirements/worker-gpu.txt requirements/
RUN pip install --require-hashes -r requirements/worker-gpu.txt
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
COPY ml ml
COPY xray_files xray_files
COPY portal portal
RUN pip install --no-deps --no-build-isolation -e . && pip uninstall -y setuptools pip

FROM ${PYTHON_IMAGE} AS base
RUN groupadd --system --gid 10001 pleura \
 && useradd --system --uid 10001 --gid pleura --no-create-home --shell /usr/sbin/nologin pleura \
 && install -d -m 0700 -o pleura -g pleura /var/lib/pleura /var/lib/pleura/models \
      /var/lib/pleura-keys /var/lib/pleura-anchors \
 && rm -rf /usr/local/lib/python3.11/site-packages/pip* /usr/local/bin/pip*
ENV PATH=/opt/pleura/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

FROM base AS portal
COPY --from=build-portal /opt/pleura /opt/pleura
COPY portal portal
COPY xray_files xray_files
COPY worker/__init__.py worker/
COPY worker/contract worker/contract
COPY worker/isolation worker/isolation
# What `portal model add` calls; it needs nothing but Python.
COPY ml/__init__.py ml/__main__.py ml/errors.py ml/
COPY ml/runtime/__init__.py ml/runtime/model_store.py ml/runtime/
COPY --from=build-portal /app/ml/weights ml/weights
COPY migrations migrations
COPY templates templates
COPY static static
ENV PLEURA_ENV=production PLEURA_DATA_DIR=/var/lib/pleura
VOLUME ["/var/lib/pleura", "/var/lib/pleura-keys", "/var/lib/pleura-anchors"]
USER pleura
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/live', timeout=4)"]
CMD ["gunicorn", "-c", "python:portal.server.gunicorn_settings", "--bind", "0.0.0.0:8000", \
     "--workers", "2", "--worker-tmp-dir", "/dev/shm"]

FROM base AS worker
# Reports are set by Pango, in fonts for every script; a worker without them does all else.
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core fonts-droid-fallback \
      fonts-nanum \
 && rm -rf /var/lib/apt/lists/*
ENV PLEURA_WORKER_STATE=/tmp/pleura PLEURA_MODELS=/var/lib/pleura/models
STOPSIGNAL SIGTERM

FROM worker AS worker-cpu
COPY --from=build-worker-cpu /opt/pleura /opt/pleura
COPY worker worker
COPY ml ml
COPY xray_files xray_files
USER pleura
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-m", "worker", "alive"]
CMD ["python", "-m", "worker", "segment"]

FROM worker AS worker-gpu
COPY --from=build-worker-gpu /opt/pleura /opt/pleura
COPY worker worker
COPY ml ml
COPY xray_files xray_files
USER pleura
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-m", "worker", "alive"]
CMD ["python", "-m", "worker", "segment"]
