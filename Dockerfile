# The collector, for a ClickHouse server of yours (CLICKHOUSE_URL): without the embedded one, which is 540 MB.
#   docker build -t penstock:0.1.0 .
# How to run it: docs/deployment.md, docker-compose.yml. Every COPY and RUN is carried out by test/deployment/image.test.ts, without Docker.

FROM oven/bun:1.4.4-slim AS scanner
WORKDIR /build
COPY package.json bun.lock ./
RUN bun install --omit=optional --frozen-lockfile
COPY scanner ./scanner
COPY src ./src
RUN bun scanner/build.ts

FROM oven/bun:1.4.4-slim AS build
WORKDIR /build
COPY package.json bun.lock ./
RUN bun install --production --omit=optional --frozen-lockfile
RUN find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete
COPY package.json LICENSE ./app/
COPY clickhouse/*.sql ./app/clickhouse/
COPY src ./app/src
COPY --from=scanner /build/build/scanner.wasm ./app/build/
# Whatever the umask of the checkout was.
RUN chmod -R a+rX app node_modules

FROM oven/bun:1.4.4-slim
LABEL org.opencontainers.image.title="Penstock" \
      org.opencontainers.image.description="An event collector for ClickHouse: every acknowledged event is stored exactly once." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# A new volume takes its owner from here: 1000 is the user `bun` of the image, who owns nothing else.
WORKDIR /
RUN install -d -o 1000 -g 1000 -m 700 var/lib/penstock
WORKDIR /app
COPY --from=build /build/node_modules ./node_modules
COPY --from=build /build/app ./

# Bun would keep a cache of transpiled files; the file system may be read-only.
ENV NODE_ENV=production \
    BUN_RUNTIME_TRANSPILER_CACHE_PATH=0 \
    HOST=0.0.0.0 \
    PORT=3000 \
    DATA_DIR=/var/lib/penstock
USER 1000:1000
VOLUME /var/lib/penstock
EXPOSE 3000
# Whether the process lives. /readyz is for balancers: a collector whose log is full must not be restarted for it.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=6 \
  CMD ["bun", "--no-env-file", "-e", "process.exit((await fetch('http://127.0.0.1:' + process.env.PORT + '/livez')).ok ? 0 : 1)"]
# What is in flight is answered and the log is sent until SHUTDOWN_DEADLINE_MS (10 s): give `docker stop` more time than that.
STOPSIGNAL SIGTERM
ENTRYPOINT ["bun", "--no-env-file", "src/main.ts"]
CMD ["serve"]
