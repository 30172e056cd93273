import { describe, expect, test } from 'bun:test'
import { type Config, type Environment, loadConfig, renderVariables } from '../src/config.ts'
import { isProblem } from '../src/problem.ts'

function accepted(environment: Environment): Config {
  const config = loadConfig(environment)
  if (isProblem(config)) throw new Error(config.message)
  return config
}

function refusal(environment: Environment): string {
  const config = loadConfig(environment)
  if (!isProblem(config)) throw new Error('the configuration was accepted')
  return config.message
}

describe('configuration', () => {
  test('an empty environment gives the documented defaults', () => {
    expect(accepted({})).toMatchObject({
      host: '127.0.0.1',
      port: 3000,
      dataDir: './data',
      clickhouse: { user: 'default', password: '', database: 'penstock' },
      embedded: { httpPort: 8123, tcpPort: 9000 },
      durability: 'fsync',
      flushIntervalMs: 1000,
      segmentBytes: 64 * 2 ** 20,
      ringBytes: 16 * 2 ** 20,
      logBytesMax: 10 * 2 ** 30,
      batchEventsMax: 100,
      bodyBytesMax: 2 ** 20,
      ndjsonBytesMax: 64 * 2 ** 20,
      inFlightBytesMax: 32 * 2 ** 20,
      streamsMax: 4096,
      keyCacheLifetimeMs: 30_000,
      trustProxy: false,
      anonymizeIp: false,
      logLevel: 'info',
      shutdownDeadlineMs: 10_000,
    })
    expect(accepted({}).clickhouse.url).toBeUndefined()
  })

  test('the result cannot be changed, at any depth', () => {
    const config = accepted({})
    expect(Object.isFrozen(config)).toBe(true)
    expect(Object.isFrozen(config.clickhouse)).toBe(true)
    expect(Object.isFrozen(config.embedded)).toBe(true)
  })

  test('an empty or blank variable counts as unset', () => {
    expect(accepted({ PORT: '', HOST: '  ' })).toMatchObject({ port: 3000, host: '127.0.0.1' })
  })

  test.each([
    ['16MiB', 16 * 2 ** 20],
    ['1 GiB', 2 ** 30],
    ['200000', 200_000],
    ['2097152B', 2 ** 21],
    ['512kib', 2 ** 19],
  ])('a size may be written %s', (given, bytes) => {
    expect(accepted({ BODY_BYTES_MAX: given, IN_FLIGHT_BYTES_MAX: '2GiB' }).bodyBytesMax).toBe(bytes)
  })

  test.each([
    ['true', true],
    ['TRUE', true],
    ['1', true],
    ['false', false],
    ['0', false],
  ])('a switch may be written %s', (given, value) => {
    expect(accepted({ ANONYMIZE_IP: given }).anonymizeIp).toBe(value)
  })

  test.each<[Environment, ...string[]]>([
    [{ PORT: 'http' }, 'PORT', '"http"', '0 to 65535'],
    [{ PORT: '65536' }, 'PORT', '"65536"', '0 to 65535'],
    [{ PORT: '-1' }, 'PORT', '"-1"', '0 to 65535'],
    [{ PORT: '3e3' }, 'PORT', '"3e3"', '0 to 65535'],
    [{ SEGMENT_BYTES: '16MB' }, 'SEGMENT_BYTES', '"16MB"', '16MiB'],
    [{ SEGMENT_BYTES: '257MiB' }, 'SEGMENT_BYTES', '"257MiB"', '256MiB'],
    [{ SEGMENT_BYTES: '1' }, 'SEGMENT_BYTES', '"1"', '64KiB'],
    [{ DURABILITY: 'memory', RING_BYTES: '7MiB' }, 'RING_BYTES', '7MiB', '8MiB (8 times BODY_BYTES_MAX'],
    [{ WAL_MAX_BYTES: '127MiB' }, 'WAL_MAX_BYTES', '127MiB', '128MiB (twice SEGMENT_BYTES)'],
    [{ IN_FLIGHT_BYTES_MAX: '512KiB' }, 'IN_FLIGHT_BYTES_MAX', '512KiB', '1MiB (BODY_BYTES_MAX)'],
    [{ SEGMENT_API_BODY_BYTES_MAX: '64MiB' }, 'IN_FLIGHT_BYTES_MAX', '32MiB', '64MiB (SEGMENT_API_BODY_BYTES_MAX)'],
    [
      { SEGMENT_API_BODY_BYTES_MAX: '16MiB', DURABILITY: 'memory' },
      'RING_BYTES',
      '16MiB',
      '128MiB (8 times SEGMENT_API',
    ],
    [{ ANONYMIZE_IP: 'yes' }, 'ANONYMIZE_IP', '"yes"', 'true, false, 1 or 0'],
    [{ TRUST_PROXY: 'yes' }, 'TRUST_PROXY', '"yes"', 'true, false, a number of proxies'],
    [{ TRUST_PROXY: '10.0.0.0/33' }, 'TRUST_PROXY', '"10.0.0.0/33"', 'networks such as'],
    [{ DURABILITY: 'maybe' }, 'DURABILITY', '"maybe"', 'fsync, memory'],
    [{ LOG_LEVEL: 'loud' }, 'LOG_LEVEL', '"loud"', 'info'],
    [{ FLUSH_INTERVAL_MS: '1.5' }, 'FLUSH_INTERVAL_MS', '"1.5"', 'whole number'],
    [{ CLICKHOUSE_URL: 'localhost:8123' }, 'CLICKHOUSE_URL', '"localhost:8123"', 'http://'],
    [{ CLICKHOUSE_URL: 'http://a:8123/default' }, 'CLICKHOUSE_URL', '"http://a:8123/default"', '_DATABASE'],
    [{ CLICKHOUSE_URL: 'http://a:8123/?database=b' }, 'CLICKHOUSE_URL', 'value not shown', '_DATABASE'],
    [{ CLICKHOUSE_URL: 'http://a:8123/#b' }, 'CLICKHOUSE_URL', '"http://a:8123/#b"', 'a host'],
    [{ CLICKHOUSE_CLUSTER: 'main' }, 'CLICKHOUSE_CLUSTER', '"main"', 'CLICKHOUSE_URL'],
    [{ CLICKHOUSE_USER: 'ann' }, 'CLICKHOUSE_USER', '"ann"', 'CLICKHOUSE_URL'],
    [{ CLICKHOUSE_PASSWORD: 'hunter2' }, 'CLICKHOUSE_PASSWORD', 'value not shown', 'CLICKHOUSE_URL'],
    [{ CLICKHOUSE_DATABASE: 'system' }, 'CLICKHOUSE_DATABASE', '"system"', 'ClickHouse’s own'],
    [{ CLICKHOUSE_CLUSTER: "x'y", CLICKHOUSE_URL: 'http://a' }, 'CLICKHOUSE_CLUSTER', '"x\'y"', 'letters'],
    [{ CLICKHOUSE_CLUSTER_REPLICATED: 'maybe' }, 'CLICKHOUSE_CLUSTER_REPLICATED', '"maybe"', 'true, false'],
    [{ CLICKHOUSE_DATABASE: 'a-b' }, 'CLICKHOUSE_DATABASE', '"a-b"', 'letters'],
    [{ PORT: '8123' }, 'EMBEDDED_CLICKHOUSE_HTTP_PORT', '8123', 'another port than PORT'],
  ])('%p is refused in one line that names the variable, the value and what it wants', (environment, ...parts) => {
    const message = refusal(environment)
    for (const part of parts) expect(message).toContain(part)
    expect(message).not.toContain('\n')
  })

  test('a value with line breaks still gives a one-line error', () => {
    expect(refusal({ PORT: `30\n00${'x'.repeat(500)}` }).length).toBeLessThan(200)
    expect(refusal({ PORT: '30\n00' })).not.toContain('\n')
  })

  test('a secret is never part of an error', () => {
    expect(refusal({ SIGNING_SECRETS_KEY: 'hunter2' })).not.toContain('hunter2')
    expect(refusal({ CLICKHOUSE_URL: 'http://user:hunter2@host:8123' })).not.toContain('hunter2')
    expect(refusal({ CLICKHOUSE_URL: 'hunter2@host' })).not.toContain('hunter2')
    expect(refusal({ REDIS_URL: 'redis://:hunter2/+@host:6379' })).not.toContain('hunter2')
  })

  test.each([
    ['true', 1],
    ['1', 1],
    ['0', false],
    ['2', 2],
  ])('proxies may be given as %s', (given, trust) => {
    expect(accepted({ TRUST_PROXY: given }).trustProxy).toBe(trust as never)
  })

  test('proxies may be given as networks', () => {
    expect(accepted({ TRUST_PROXY: ' 10.0.0.0/8, loopback ' }).trustProxy).toHaveLength(3)
  })

  test.each(['http://a', 'https://a:8443/', 'http://[::1]:8123'])('a server may be at %s', (url) => {
    expect(accepted({ CLICKHOUSE_URL: url }).clickhouse.url).toBe(url)
  })

  test('a password is taken to the letter', () => {
    expect(accepted({ CLICKHOUSE_URL: 'http://a', CLICKHOUSE_PASSWORD: ' a b ' }).clickhouse.password).toBe(' a b ')
  })

  test('ports of the embedded server do not matter when there is a server of its own', () => {
    expect(accepted({ PORT: '8123', CLICKHOUSE_URL: 'https://clickhouse.example' }).port).toBe(8123)
  })

  test('several ports may be 0, each a free one', () => {
    const free = { PORT: '0', EMBEDDED_CLICKHOUSE_HTTP_PORT: '0', EMBEDDED_CLICKHOUSE_TCP_PORT: '0' }
    expect(accepted(free).embedded).toEqual({ httpPort: 0, tcpPort: 0 })
  })

  test('the rendered table has a line of help and the default for every variable', () => {
    for (const format of ['text', 'markdown'] as const) {
      const table = renderVariables(format)
      for (const part of ['PORT', '3000', 'SEGMENT_BYTES', '64MiB', 'CLICKHOUSE_URL', 'unset']) {
        expect(table).toContain(part)
      }
    }
  })
})
