# Berth's programs in one image, built as on any Debian 12 machine: dev/setup installs the listed
# packages, make builds and installs.
FROM debian:12-slim AS build
WORKDIR /src
# Packages first, in a layer that is cached until their list changes.
COPY dev/setup dev/packages-build.txt dev/
RUN dev/setup build
COPY . .
RUN make -j"$(nproc)" install-programs PREFIX=/usr DESTDIR=/out

FROM debian:12-slim
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="berth" \
      org.opencontainers.image.description="Books a compute farm: signed requests in, decisions and events out" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="debian:12-slim"
# Mounted, not copied: the final image needs no set-up script.
RUN --mount=type=bind,source=dev,target=/tmp/dev \
    /tmp/dev/setup run && rm -rf /var/lib/apt/lists/*
RUN groupadd --system --gid 10001 berth && \
    useradd --system --uid 10001 --gid berth --no-create-home --shell /usr/sbin/nologin berth
COPY --from=build /out/ /
USER berth
CMD ["berth-worker"]
