import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isRedisFailure, openRedis, type Redis } from '../src/redis.ts'
import { freePort } from '../src/sink/engine-setup.ts'
import { createLogger } from '../src/telemetry/logger.ts'
import { startTestRedis, type TestRedis } from './support/redis.ts'

const silent = createLogger({ level: 'silent' })

let server: TestRedis
const opened: Redis[] = []

beforeAll(async () => {
  server = await startTestRedis()
})

afterAll(async () => {
  await Promise.all(opened.map((redis) => redis.close()))
  await server.dispose()
})

function open(url = server.url, logger = silent): Redis {
  const redis = openRedis(url, logger)
  opened.push(redis)
  return redis
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(5)
}

async function openReady(url?: string, logger?: typeof silent): Promise<Redis> {
  const redis = open(url, logger)
  expect(await redis.ready(4_000)).toBe(true)
  return redis
}

/** A logger, and what it wrote. */
function recorder() {
  const lines: string[] = []
  const logger = createLogger({ level: 'debug', destination: { write: (line: string) => lines.push(line) } })
  return { lines, logger, messages: () => lines.map((line) => JSON.parse(line).msg) }
}

async function failureOf(reply: Promise<unknown>): Promise<string> {
  const result = await reply
  return isRedisFailure(result) ? result.problem : `no failure: ${JSON.stringify(result)}`
}

describe('a Redis that is there', () => {
  test('takes commands, under the prefix', async () => {
    const redis = await openReady()
    expect(await redis.command('SET', 'a', 'ä', 'NX')).toBe('OK')
    expect(await redis.command('SET', 'a', 'b', 'NX')).toBeNull()
    expect(await redis.command('GET', 'a')).toBe('ä')
    expect(server.cli('get', 'penstock:a')).toBe('ä')
  })

  test('takes keys of bytes', async () => {
    const redis = await openReady()
    expect(await redis.command('SET', Buffer.from([0, 255, 254]), 1)).toBe('OK')
    expect(await redis.command('EXISTS', Buffer.from([0, 255, 254]))).toBe(1)
    expect(await redis.command('EXISTS', Buffer.from([0, 255, 253]))).toBe(0)
  })

  test('runs scripts, also after it has forgotten them', async () => {
    const redis = await openReady()
    const script = redis.script("return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}")
    expect(await script.run(['count'], ['x'])).toEqual(['penstock:count', 'x', 1])
    server.cli('script', 'flush')
    const replies = await Promise.all([script.run(['count'], ['y']), script.run(['count'], ['z'])])
    expect(replies).toEqual([
      ['penstock:count', 'y', 2],
      ['penstock:count', 'z', 3],
    ])
  })

  test('gives what it refused as a failure, and stays available', async () => {
    const redis = await openReady()
    expect(await failureOf(redis.command('INCRBY', 'a', 'not a number'))).toBe('redis_error')
    expect(await failureOf(redis.script('this is not Lua').run([], []))).toBe('redis_error')
    expect(redis.available).toBe(true)
    expect(redis.stats().failures.redis_error).toBe(2)
  })

  test('tells its version', async () => {
    const redis = await openReady()
    expect(await redis.ping()).toEqual({
      responseTimeMs: expect.any(Number),
      version: expect.stringMatching(/^\d+\.\d+/),
    })
  })

  test('brings messages to every subscriber, and none after it has ended', async () => {
    const [one, two] = await Promise.all([openReady(), openReady()])
    const heard: string[] = []
    let ready = 0
    const listen = (name: string) => ({
      message: (text: string) => heard.push(`${name} ${text}`),
      missed: () => ready++,
    })
    const end = one.subscribe('news', listen('one'))
    two.subscribe('news', listen('two'))
    two.subscribe('other', listen('other'))
    await until(() => ready === 3)
    expect(await one.publish('news', 'hello')).toBe(true)
    await until(() => heard.length === 2)
    expect(heard.sort()).toEqual(['one hello', 'two hello'])
    end()
    await one.publish('news', 'again')
    await until(() => heard.length === 3)
    expect(heard.at(-1)).toBe('two again')
  })
})

describe('a Redis that goes away', () => {
  test('is known to be away at once, fails commands at once, and is back by itself; each is logged once', async () => {
    const { logger, messages } = recorder()
    const redis = await openReady(server.url, logger)
    await server.kill()
    await until(() => !redis.available)
    const startedAt = performance.now()
    const replies = Array.from({ length: 100 }, () => redis.command('GET', 'a'))
    expect(performance.now() - startedAt).toBeLessThan(100)
    expect(new Set(replies.map((reply) => Bun.peek.status(reply)))).toEqual(new Set(['fulfilled'])) // without waiting for anything
    for (const reply of replies) expect(await failureOf(reply)).toBe('redis_away')
    expect(await redis.publish('news', 'lost')).toBe(false)
    expect(await failureOf(redis.ping())).toBe('redis_away')
    await server.start()
    await until(() => redis.available)
    expect(await redis.command('GET', 'a')).toBeNull()
    expect(messages()).toEqual(['Redis answers', 'Redis is away: collectors go on without it', 'Redis answers'])
  })

  test('fails the commands that were under way', async () => {
    const redis = await openReady()
    server.freeze()
    const replies = Array.from({ length: 10 }, () => failureOf(redis.command('GET', 'a')))
    await server.kill()
    for (const reply of await Promise.all(replies)) expect(['redis_error', 'redis_late']).toContain(reply)
    await server.start()
    await until(() => redis.available)
  })

  test('may hang: one command waits for it, those after it do not', async () => {
    const redis = await openReady()
    server.freeze()
    expect(await failureOf(redis.command('GET', 'a'))).toBe('redis_late')
    expect(redis.available).toBe(false)
    expect(await failureOf(redis.command('GET', 'a'))).toBe('redis_away')
    await Bun.sleep(1_700) // longer than a probe waits, so the connection is given up, and new ones get no answer either
    expect(redis.available).toBe(false)
    server.thaw()
    await until(() => redis.available)
    expect(await redis.command('GET', 'a')).toBeNull()
  })

  test('tells subscribers that they may have missed something, and goes on bringing messages', async () => {
    const [redis, publisher] = await Promise.all([openReady(), openReady()])
    const heard: string[] = []
    redis.subscribe('news', { message: (text) => heard.push(text), missed: () => heard.push('missed') })
    await until(() => heard.length === 1)
    await server.kill()
    await server.start()
    await until(() => heard.length === 2)
    await until(() => publisher.available)
    await publisher.publish('news', 'hello')
    await until(() => heard.length === 3)
    expect(heard).toEqual(['missed', 'missed', 'hello'])
  })

  test('counts as away while it refuses to write', async () => {
    const redis = await openReady()
    server.cli('replicaof', '127.0.0.1', `${freePort()}`)
    expect(await failureOf(redis.command('SET', 'a', 1))).toBe('redis_error')
    expect(redis.available).toBe(false)
    server.cli('replicaof', 'no', 'one')
    await until(() => redis.available)
  })

  test('does not count as away when it was this process that was busy', async () => {
    const redis = await openReady()
    const reply = redis.command('GET', 'a')
    await Bun.sleep(0) // it is sent
    Bun.sleepSync(300)
    expect(isRedisFailure(await reply)).toBe(false)
    expect(redis.available).toBe(true)
  })
})

describe('a Redis that was never there', () => {
  test('is waited for, and can be closed', async () => {
    const port = freePort()
    const { logger, messages, lines } = recorder()
    const redis = open(`redis://user:secret@127.0.0.1:${port}/2`, logger)
    expect(await failureOf(redis.command('GET', 'a'))).toBe('redis_away')
    await Bun.sleep(300)
    await redis.close()
    expect(messages()).toEqual(['Redis is away: collectors go on without it'])
    expect(lines.join()).not.toContain('secret')
  })

  test('may be something that takes connections and says nothing', async () => {
    const mute = createServer(() => {}).listen(0, '127.0.0.1')
    await Bun.sleep(10)
    const address = mute.address()
    const redis = open(`redis://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`)
    expect(await failureOf(redis.command('GET', 'a'))).toBe('redis_away')
    await redis.close()
    mute.close()
  })
})

test('TLS is used where the address says so, and a certificate that nobody vouches for is refused', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'penstock-test-tls-'))
  const files = ['-keyout', join(directory, 'key.pem'), '-out', join(directory, 'certificate.pem')]
  const subject = ['-subj', '/CN=Redis of a test', '-addext', 'subjectAltName=IP:127.0.0.1']
  spawnSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject, ...files])
  const [, key = '', , certificate = ''] = files
  const tlsPort = freePort()
  const tls = ['--tls-port', `${tlsPort}`, '--tls-key-file', key, '--tls-cert-file', certificate]
  const secure = await startTestRedis(...tls, '--tls-auth-clients', 'no')
  const url = `rediss://127.0.0.1:${tlsPort}`
  try {
    const { logger, lines } = recorder()
    open(url, logger)
    await until(() => lines.length > 0)
    expect(lines.join()).toContain('self signed certificate')
    // Certificates to be trusted are read when a process starts.
    const script = `
      import { openRedis } from '${join(import.meta.dir, '../src/redis.ts')}'
      import { createLogger } from '${join(import.meta.dir, '../src/telemetry/logger.ts')}'
      const redis = openRedis('${url}', createLogger({ level: 'silent' }))
      await redis.ready(4000)
      console.log(await redis.command('SET', 'tls', 'yes'))
      await redis.close()`
    const env = { NODE_EXTRA_CA_CERTS: certificate }
    expect(spawnSync(process.execPath, ['-e', script], { env, encoding: 'utf8' }).stdout).toBe('OK\n')
    expect(secure.cli('get', 'penstock:tls')).toBe('yes')
  } finally {
    await secure.dispose()
    rmSync(directory, { recursive: true, force: true })
  }
})

test('a database that is not there is not replaced by another one', async () => {
  const { logger, lines } = recorder()
  const redis = open(`${server.url}/99`, logger)
  await until(() => lines.length > 0)
  expect(lines.join()).toContain('DB index is out of range')
  expect(await redis.ready(100)).toBe(false)
})

test('a password and a database of the URL are used, and a wrong password is told without it', async () => {
  const locked = await startTestRedis('--requirepass', 'p@ss:w/rd')
  try {
    const redis = await openReady(`redis://:${encodeURIComponent('p@ss:w/rd')}@127.0.0.1:${locked.port}/3`)
    expect(await redis.command('SET', 'a', 1)).toBe('OK')
    expect(locked.cli('-n', '3', 'get', 'penstock:a')).toBe('1')
    const { logger, lines } = recorder()
    const refused = open(`redis://:guess@127.0.0.1:${locked.port}`, logger)
    await until(() => lines.length > 0)
    expect(lines.join()).toContain('WRONGPASS')
    expect(lines.join()).not.toContain('guess')
    expect(refused.available).toBe(false)
  } finally {
    await locked.dispose()
  }
})
