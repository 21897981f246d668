# Dependencies of one program in a virtual environment. Changes only with pyproject.toml, so that a change of code does not come by here.
# ./wheels holds every wheel, resolved beforehand with the builder's own pip configuration; nothing is downloaded by pip in here.
ARG BASE=docker.io/library/python:3.13-slim
FROM ${BASE}
ARG APT=""
RUN if [ -n "$APT" ]; then apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $APT \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log; fi
RUN --mount=type=bind,source=wheels,target=/wheels \
    python3 -m venv /opt/ccl \
    && /opt/ccl/bin/pip install --quiet --no-index --no-cache-dir --disable-pip-version-check --find-links /wheels /wheels/*.whl \
    && /opt/ccl/bin/pip uninstall --quiet --yes pip
ENV PATH=/opt/ccl/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
    PYTHONPATH=/opt/ccl/src PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
USER 10001:10001
WORKDIR /opt/ccl
