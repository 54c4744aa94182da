# syntax=docker/dockerfile:1
# The one image of all parts: weir-agent in pods, weir-control, and weir for people. `make image` builds it.

# Both stages are of the same Debian, so that what is linked is there at run time.
ARG DEBIAN=trixie
ARG RUST_VERSION=1.91

# Compiles on the builder's own architecture, whatever the image is for.
FROM --platform=$BUILDPLATFORM rust:${RUST_VERSION}-slim-${DEBIAN} AS build
ARG BUILDARCH
ARG TARGETARCH
WORKDIR /src
COPY scripts/cross scripts/cross
RUN scripts/cross setup "$BUILDARCH" "$TARGETARCH"
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=weir-target-$TARGETARCH \
    scripts/cross build "$TARGETARCH" /out

FROM debian:${DEBIAN}-slim
# For the init container: both families, nf_tables and legacy.
RUN apt-get update \
    && apt-get install -y --no-install-recommends iptables \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*
COPY --from=build /out/weir-agent /out/weir-control /out/weir /usr/local/bin/
LABEL org.opencontainers.image.title="Weir" \
      org.opencontainers.image.description="Sidecar and control plane of a service mesh" \
      org.opencontainers.image.licenses="Apache-2.0"
# As a number, so that the kubelet can see that it is not root. Sidecars and init containers name a user
# of their own.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/weir-agent"]
