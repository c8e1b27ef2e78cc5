# The image holds one static binary and nothing else.
ARG GO_IMAGE=golang:1.26
FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN ["go", "mod", "download"]
COPY . .
ENV CGO_ENABLED=0
RUN ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", "/out/dq", "./cmd/dq"]
WORKDIR /out/empty

FROM scratch
COPY --from=build /out/dq /dq
# A new volume takes its owner from here.
COPY --from=build --chown=65532:65532 /out/empty /data
COPY --from=build --chown=65532:65532 /out/empty /tmp
USER 65532:65532
ENV DQ_ADDR=0.0.0.0:5000 DQ_DATA_DIR=/data
VOLUME /data
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/dq", "health"]
ENTRYPOINT ["/dq"]
CMD ["serve"]
