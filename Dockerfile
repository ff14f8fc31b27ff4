# Needs no frontend of its own: any BuildKit builds this.
ARG BASE=node:24-bookworm-slim

FROM ${BASE} AS build
WORKDIR /src
# Dependencies change less often than sources: a layer of their own.
COPY package.json package-lock.json .npmrc ./
COPY contract/package.json contract/
COPY crds/package.json crds/
COPY dev/package.json dev/
COPY prisma/package.json prisma/
COPY operator/package.json operator/
COPY gateway/package.json gateway/
COPY e2e/package.json e2e/
COPY bench/package.json bench/
RUN npm ci --no-audit --no-fund --loglevel=error && rm -rf /root/.npm
COPY . .
# Types are checked by `make verify`; here they are only taken away.
RUN npm run --silent generate -w @claude-gateway/prisma && npx tsc --build --noCheck gateway operator
ARG SOURCE_DATE_EPOCH=0
RUN node hack/runtime-tree.mjs /out/app gateway operator \
 && cp hack/runtime-main.mjs /out/app/main.mjs \
 && sh hack/runtime-root.sh /out \
 && find /out -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

# Node.js with the few libraries that it is linked to, and the program. No shell, no package manager.
FROM scratch
COPY --from=build /out/ /
ENV NODE_ENV=production PATH=/usr/local/bin
WORKDIR /app
USER 65532:65532
EXPOSE 8080
# The gateway; with the argument `operator`, the operator.
ENTRYPOINT ["/usr/local/bin/node", "/app/main.mjs"]
CMD ["--config", "/etc/claude-gateway/gateway.yaml"]
ARG VERSION=development
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="claude-gateway" \
      org.opencontainers.image.description="Kubernetes-native gateway for Claude Code" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
