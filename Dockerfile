# syntax=docker/dockerfile:1
# The one image of all parts: weir-agent in pods, weir-control, and weir for people. `make image` builds it.

# Of the image that builds, which is no part of the image: a tag, or with its digest, name:tag@sha256:....
ARG RUST_IMAGE=rust:1.91-slim-trixie

# Compiles on the builder's own architecture, whatever the image is for.
FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS build
ARG BUILDARCH
ARG TARGETARCH
WORKDIR /src
COPY scripts/cross scripts/image-root scripts/
# What it holds beside the programs. It starts from the same Debian, so that what is linked is there at run time.
RUN apt-get update && scripts/image-root /root-of-image "$TARGETARCH" && rm -rf .make
RUN scripts/cross setup "$BUILDARCH" "$TARGETARCH"
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=weir-target-$TARGETARCH \
    scripts/cross build "$TARGETARCH" /out

FROM scratch
COPY --from=build /root-of-image /
COPY --from=build /out/sbom /usr/share/doc/weir/
COPY --from=build /out/weir-agent /out/weir-control /out/weir /usr/local/bin/
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LABEL org.opencontainers.image.title="Weir" \
      org.opencontainers.image.description="Sidecar and control plane of a service mesh" \
      org.opencontainers.image.licenses="Apache-2.0"
# As a number, so that the kubelet can see that it is not root. Sidecars and init containers name a user
# of their own.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/weir-agent"]
