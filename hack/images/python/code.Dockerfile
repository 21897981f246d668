# Our code on top of its dependencies: ./src with the packages and their metadata, ./bin with the commands.
ARG DEPS
FROM ${DEPS}
COPY src /opt/ccl/src
COPY bin /opt/ccl/bin
# The root file system is read-only at run time and the user is not the owner: compiled now or never.
USER 0
RUN python -m compileall -q /opt/ccl/src
USER 10001:10001
