# One image for every process of ours. Build: docker compose build (TORCH_PIP_ARGS chooses a CPU or CUDA build of torch).
FROM python:3.11.14-slim-bookworm AS build
ARG TORCH_PIP_ARGS=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/venv && /opt/venv/bin/pip install uv
WORKDIR /opt/modelyard
COPY requirements/ requirements/
RUN /opt/venv/bin/pip install "$(sed -n 's/^\(torch==[^ ;]*\).*/\1/p' requirements/no-torch.txt)" ${TORCH_PIP_ARGS} \
    && /opt/venv/bin/uv pip install --no-cache --python /opt/venv/bin/python -r requirements/requirements.lock
COPY . .
RUN /opt/venv/bin/uv pip install --no-cache --no-deps --python /opt/venv/bin/python . \
    && /opt/venv/bin/uv pip check --python /opt/venv/bin/python

FROM python:3.11.14-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends git libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --home-dir /var/lib/modelyard --create-home modelyard
COPY --from=build /opt/venv /opt/venv
COPY --from=build --chown=root:root /opt/modelyard /opt/modelyard
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /var/lib/modelyard
VOLUME /var/lib/modelyard
USER modelyard
ENTRYPOINT ["/opt/modelyard/deploy/entrypoint.sh"]
CMD ["modelyard", "--help"]
