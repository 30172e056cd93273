/** Several workers on one port (WORKERS): all take events, none that was acknowledged is lost or doubled, and they end together. */
import { afterAll, afterEach, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { EmbeddedClickHouse } from '../../src/sink/embedded-clickhouse.ts'
import { freePort } from '../../src/sink/engine-setup.ts'
import { runCli } from '../cli/run-cli.ts'
import { accountFor } from '../support/accounting.ts'
import { startTestClickHouse } from '../support/clickhouse.ts'
import {
  type Collector,
  type CollectorHome,
  type CollectorStats,
  type LogLine,
  newHome,
  startCollector,
  waitUntil,
} from '../support/collector.ts'
import { newHomeWithoutEngine } from '../support/engine.ts'
import { makeDraft } from '../support/event-drafts.ts'
import { startPostgres } from '../support/postgres.ts'
import { Producer } from '../support/producer.ts'
import { randomFrom } from '../support/random.ts'
import { startTestRedis } from '../support/redis.ts'
import { sharedId } from '../support/shared-ids.ts'
import { askWorkers, processesOf, segmentsOf, workerPid } from '../support/workers.ts'

const redis = await startTestRedis()
const clickhouse = await startTestClickHouse()
const homes: CollectorHome[] = []
let collector: Collector | undefined
let engine: EmbeddedClickHouse | undefined

afterEach(async () => {
  await collector?.kill9()
  collector = undefined
  await engine?.stop()
  engine = undefined
  for (const home of homes.splice(0)) home.remove()
})

afterAll(async () => {
  await clickhouse.stop()
  await redis.dispose()
})

function remember(home: CollectorHome): CollectorHome {
  homes.push(home)
  return home
}

const shared = { REDIS_URL: redis.url }

/** Workers in front of the ClickHouse of all tests, in a database of their own. */
async function homeOf(workers: number, env: Record<string, string> = {}): Promise<CollectorHome> {
  const CLICKHOUSE_DATABASE = await clickhouse.createDatabase()
  const own = { WORKERS: String(workers), CLICKHOUSE_URL: clickhouse.url, CLICKHOUSE_DATABASE }
  return remember(newHome({ ...shared, ...own, ...env }))
}

async function start(home: CollectorHome, options: { untilFlowing?: boolean; ownGroup?: boolean } = {}) {
  collector = await startCollector({ home, ...options })
  const started = collector
  await waitUntil('all workers accept events', () => hasSaid(started, 'all workers accept events'))
  return started
}

function hasSaid({ lines }: Collector, message: string): boolean {
  return lines.some(({ msg }) => msg === message)
}

/** One request by a connection of its own: the kernel chooses a worker. */
async function postAlone(url: string, key: string, events: readonly object[]): Promise<number> {
  const headers = { 'api-key': key, connection: 'close' }
  const { status } = await fetch(`${url}/v1/events`, { method: 'POST', headers, body: JSON.stringify({ events }) })
  return status
}

/** Producers that send until `stop`; their ids are their own, since all tests share Redis, which remembers them. */
function startProducers({ url, key }: Collector) {
  const run = crypto.randomUUID()
  const producers = Array.from({ length: 6 }, (_, number) => {
    return new Producer({
      name: `${run}-${number}`,
      eventsMax: number % 2 === 0 ? 20 : 1,
      random: randomFrom(number),
      pauseMs: 5,
      newConnections: number > 1,
    })
  })
  const sending = producers.map((producer) => producer.run(url, key))
  return {
    producers,
    acknowledged: () => producers.reduce((sum, producer) => sum + producer.acknowledged, 0),
    async stop() {
      for (const producer of producers) producer.stop()
      await Promise.all(sending)
    },
  }
}

type Load = ReturnType<typeof startProducers>

async function more({ acknowledged }: Load, events: number): Promise<void> {
  const before = acknowledged()
  await waitUntil(`${events} more events are acknowledged`, () => acknowledged() > before + events)
}

/** When every log is empty: nothing lost, nothing doubled, nothing that nobody sent. */
async function expectEveryOnce(from: Collector, { producers }: Load): Promise<void> {
  await waitUntil('every log is empty', () => segmentsOf(from.home).length === 0)
  expect(await accountFor(from, producers)).toMatchObject({ lost: [], doubled: [], unknown: [] })
}

describe('all workers', () => {
  test('take events on one port, each into a log of its own, and say which of them answers', async () => {
    const home = await homeOf(3)
    const { url, key, lines } = await start(home)
    for (let sent = 0; sent < 90; sent++) expect(await postAlone(url, key, [makeDraft()])).toBe(201)
    const stats = await askWorkers<CollectorStats & { worker: number }>(collector as Collector, '/stats', 3)
    const accepted = [...stats.values()].map(({ events }) => events.accepted)
    expect(accepted.filter((count) => count > 0)).toHaveLength(3)
    expect(accepted.reduce((sum, count) => sum + count)).toBe(90)
    await askWorkers(collector as Collector, '/health', 3)
    const logIds = ['log', 'log-1', 'log-2'].map((log) =>
      readFileSync(join(home.env.DATA_DIR ?? '', log, 'log.id'), 'utf8'),
    )
    expect(new Set(logIds).size).toBe(3)
    await waitUntil('every log is empty', () => segmentsOf(home).length === 0)
    expect(await collector?.query('SELECT count() FROM events')).toBe('90\n')
    const accepting = lines.filter(({ msg }) => msg === 'accepting events').map(({ worker }) => worker)
    expect(accepting.sort()).toEqual([0, 1, 2])
  })

  test('store an event once that comes to all of them at the same time, again and again', async () => {
    const home = await homeOf(3)
    const { url, key } = await start(home)
    const events = Array.from({ length: 40 }, () => makeDraft({ event_id: crypto.randomUUID() }))
    const statuses: number[] = []
    for (const event of events) {
      const copies = Array.from({ length: 6 }, () => postAlone(url, key, [event]))
      statuses.push(...(await Promise.all(copies)))
    }
    expect(new Set(statuses)).toEqual(new Set([201]))
    await waitUntil('every log is empty', () => segmentsOf(home).length === 0)
    expect(await collector?.query('SELECT count(), uniq(event_id) FROM events')).toBe('40\t40\n')
    const stats = await askWorkers<CollectorStats & { worker: number }>(collector as Collector, '/stats', 3)
    const accepted = [...stats.values()].map(({ events }) => events.accepted)
    expect(accepted.filter((count) => count > 0)).toHaveLength(3)
  })
})

describe('kill -9', () => {
  test('of a worker under load, again and again: it is started again and every acknowledged event is stored once', async () => {
    const home = await homeOf(2)
    const running = await start(home)
    const load = startProducers(running)
    for (const worker of [1, 0, 1, 0]) {
      await more(load, 500)
      const pid = workerPid(home, worker) ?? 0
      process.kill(pid, 'SIGKILL')
      await waitUntil('there is another one', () => ![pid, undefined].includes(workerPid(home, worker)))
    }
    await more(load, 500)
    await load.stop()
    await expectEveryOnce(running, load)
    const ended = running.lines.filter(({ msg }) => msg === 'a worker ended, starting it again')
    expect(ended.map(({ worker, signal }) => [worker, signal])).toEqual(
      [1, 0, 1, 0].map((worker) => [worker, 'SIGKILL']),
    )
    expect(await running.stop()).toBe(0)
  })

  test('of a worker while Postgres is away: the others go on, and it comes back with Postgres', async () => {
    const postgres = await startPostgres()
    try {
      const home = await homeOf(2, { CONTROL_DATABASE_URL: await postgres.newDatabase() })
      const running = await start(home)
      const load = startProducers(running)
      await more(load, 200)
      await postgres.crash()
      process.kill(workerPid(home, 1) ?? 0, 'SIGKILL')
      const again = (): LogLine[] => running.lines.filter(({ msg }) => msg === 'a worker ended, starting it again')
      await waitUntil('it could not start', () => again().length >= 3)
      expect(again().at(-1)).toMatchObject({ worker: 1, reason: expect.stringContaining('control database') })
      await more(load, 200)
      await postgres.restart()
      await waitUntil('both answer', async () => (await askWorkers(running, '/health', 2)).size === 2)
      await load.stop()
      await expectEveryOnce(running, load)
      expect(await running.stop()).toBe(0)
    } finally {
      await postgres.stop()
    }
  })

  test('of the supervisor under load: workers and ClickHouse end by themselves, and the next start goes on at once', async () => {
    const home = remember(newHome({ ...shared, WORKERS: '2' }))
    const killed = await start(home)
    const load = startProducers(killed)
    await more(load, 1_000)
    process.kill(killed.pid, 'SIGKILL')
    const next = await start(home)
    await more(load, 1_000)
    await load.stop()
    await expectEveryOnce(next, load)
    expect(processesOf(home)).toHaveLength(4) // supervisor, two workers, ClickHouse: nobody is left of the first start
    process.kill(next.pid, 'SIGKILL')
    await waitUntil('all have ended', () => processesOf(home).length === 0, 15_000)
  })

  test('of the supervisor while it starts leaves nobody behind', async () => {
    const home = await homeOf(2)
    for (let kill = 0; kill < 6; kill++) {
      const silent = { env: home.env, stdout: 'ignore', stderr: 'ignore' } as const
      const supervisor = Bun.spawn([process.execPath, '--no-env-file', MAIN, 'serve'], silent)
      await Bun.sleep(100 + kill * 150)
      supervisor.kill('SIGKILL') // it may have ended, when workers of the one before still had the port
    }
    await waitUntil('all have ended', () => processesOf(home).length === 0, 15_000)
  })
})

describe('the end', () => {
  test('by SIGTERM under load comes with exit code 0 and nothing left in the logs', async () => {
    const home = await homeOf(2, { SHUTDOWN_DEADLINE_MS: '30000' })
    const running = await start(home)
    const load = startProducers(running)
    await more(load, 1_000)
    expect(await running.stop()).toBe(0)
    await load.stop()
    expect(segmentsOf(home)).toEqual([])
    expect(processesOf(home)).toEqual([])
    await expectEveryOnce(running, load)
    expect({ stderr: running.stderr, errors: running.lines.filter(({ level }) => level === 'error') }).toEqual({
      stderr: '',
      errors: [],
    })
  })

  test('by Ctrl-C, which reaches every process of the terminal, is the same', async () => {
    const home = remember(newHome({ ...shared, WORKERS: '2', SHUTDOWN_DEADLINE_MS: '30000' }))
    const running = await start(home, { ownGroup: true })
    const load = startProducers(running)
    await more(load, 1_000)
    process.kill(-running.pid, 'SIGINT')
    expect(await running.exited).toBe(0)
    await load.stop()
    expect(segmentsOf(home)).toEqual([])
    expect(processesOf(home)).toEqual([])
    expect(running.stderr).toBe('')
    await expectEveryOnce(await start(home), load)
  })

  test('by a second SIGTERM comes at once for all, and the next start has what was acknowledged', async () => {
    const { home, startEngine } = newHomeWithoutEngine({ ...shared, WORKERS: '2', SHUTDOWN_DEADLINE_MS: '60000' })
    engine = startEngine()
    const running = await start(remember(home))
    await engine.stop() // from here on the last flush takes until the deadline
    const load = startProducers(running)
    await more(load, 1_000)
    process.kill(running.pid, 'SIGTERM')
    await load.stop()
    await waitUntil('the stop has begun', () => hasSaid(running, 'shutting down'))
    const begun = performance.now()
    expect(await running.stop()).toBe(1)
    await waitUntil('all have ended', () => processesOf(home).length === 0)
    expect(performance.now() - begun).toBeLessThan(5_000)
    engine = startEngine()
    await expectEveryOnce(await start(home), load)
  })

  test('of one worker alone is not the end: its place is taken again', async () => {
    const home = await homeOf(2)
    const running = await start(home)
    const load = startProducers(running)
    const pid = workerPid(home, 1) ?? 0
    process.kill(pid, 'SIGTERM')
    await waitUntil('there is another one', () => ![pid, undefined].includes(workerPid(home, 1)))
    await more(load, 500)
    await load.stop()
    await expectEveryOnce(running, load)
  })
})

describe('a start that cannot succeed ends with one line and exit code 1', () => {
  async function expectOneLine(env: Record<string, string>, ...words: readonly string[]): Promise<void> {
    const { exitCode, stdout, stderr } = await runCli(['serve'], { ...env, LOG_LEVEL: 'fatal' })
    expect({ exitCode, stdout, lines: stderr.trim().split('\n') }).toEqual({
      exitCode: 1,
      stdout: '',
      lines: [expect.stringMatching(/^error: /)],
    })
    for (const word of words) expect(stderr).toContain(word)
  }

  test('when another program has the port', async () => {
    using other = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: () => new Response('hello') })
    const { env } = await homeOf(2)
    await expectOneLine({ ...env, PORT: String(other.port) }, `127.0.0.1:${other.port} (HOST, PORT)`)
  })

  test('when another Penstock with workers has the port: they would share it, and halve the requests', async () => {
    const { port } = await start(await homeOf(2))
    const { env } = await homeOf(2)
    await expectOneLine({ ...env, PORT: String(port) }, `127.0.0.1:${port} (HOST, PORT)`)
  })

  test('when another collector has the DATA_DIR; that one goes on', async () => {
    const home = await homeOf(2)
    const running = await start(home)
    await expectOneLine({ ...home.env, PORT: String(freePort()) }, 'another collector uses the log directory')
    expect(processesOf(home)).toHaveLength(3)
    expect((await running.postEvents([makeDraft()])).status).toBe(201)
  })

  test('when the DATA_DIR is no directory', async () => {
    const { env } = await homeOf(2)
    await expectOneLine({ ...env, DATA_DIR: '/dev/null/data' }, '/dev/null/data')
    await expectOneLine({ ...env, DATA_DIR: '/dev/null' }, '/dev/null')
  })

  test('when the log of a worker cannot be opened', async () => {
    const home = await homeOf(2)
    await start(home)
    expect(await collector?.stop()).toBe(0)
    const log = join(home.env.DATA_DIR ?? '', 'log-1')
    Bun.spawnSync(['rm', '-r', log])
    writeFileSync(log, '')
    await expectOneLine(home.env, log, 'DATA_DIR')
    expect(processesOf(home)).toEqual([])
  })

  test('without REDIS_URL, by which workers share limits and event ids', async () => {
    const { env } = await homeOf(2)
    await expectOneLine({ ...env, REDIS_URL: '' }, 'WORKERS is 2', 'REDIS_URL')
  })

  test('when the tables are of a newer version', async () => {
    const home = await homeOf(2)
    await start(home)
    expect(await collector?.stop()).toBe(0)
    await collector?.query(`INSERT INTO schema_migrations (version, name, checksum) VALUES (99, 'later', 'x')`)
    await expectOneLine(home.env, 'the database has migration 99')
    expect(processesOf(home)).toEqual([])
  })
})

describe('fewer workers at the next start', () => {
  test('the logs of the others are emptied into ClickHouse, then there is one process again', async () => {
    const { home, startEngine } = newHomeWithoutEngine({ ...shared, SHUTDOWN_DEADLINE_MS: '500' })
    remember(home)
    const before = await start({ ...home, env: { ...home.env, WORKERS: '3' } }, { untilFlowing: false })
    const load = startProducers(before)
    const logs = ['log/', 'log-1/', 'log-2/']
    const haveEvents = () => logs.every((log) => segmentsOf(home).some((name) => name.startsWith(log)))
    await waitUntil('every log has events', haveEvents)
    await more(load, 500)
    expect(await before.stop()).toBe(0)
    await load.stop()

    const away = await start(home, { untilFlowing: false })
    await waitUntil('two processes drain', () => processesOf(home).filter(({ isDraining }) => isDraining).length === 2)
    const begun = performance.now()
    expect(await away.stop()).toBe(0) // also while there is nowhere to drain to
    expect(performance.now() - begun).toBeLessThan(5_000)

    engine = startEngine()
    const next = await start(home)
    await expectEveryOnce(next, load)
    await waitUntil('the drains have ended', () => processesOf(home).every(({ isDraining }) => !isDraining))
    expect(next.lines.filter(({ level }) => level === 'error')).toEqual([])
    expect(await next.stop()).toBe(0)

    collector = await startCollector({ home })
    expect(processesOf(home)).toHaveLength(1)
    expect(await accountFor(collector, load.producers)).toMatchObject({ lost: [], doubled: [], unknown: [] })
  })

  /** Two workers that were killed when Redis had their claims and they no answer; how many had some. */
  async function killWithClaims() {
    const { home, startEngine } = newHomeWithoutEngine(shared)
    remember(home)
    const before = await start({ ...home, env: { ...home.env, WORKERS: '2' } }, { untilFlowing: false })
    await waitUntil('both have Redis', () => redis.cli('pubsub', 'numsub', 'penstock:keys').endsWith('2'))
    const [first = {}, ...events] = Array.from({ length: 25 }, () => makeDraft({ event_id: crypto.randomUUID() }))
    expect(await postAlone(before.url, before.key, [first])).toBe(201) // now Redis knows the scripts
    const send = (some: readonly object[]) =>
      Promise.all(some.map((event) => postAlone(before.url, before.key, [event])))
    redis.freeze() // it will carry out what it was sent, but nobody gets an answer
    expect(new Set(await send(events))).toEqual(new Set([201]))
    for (const { pid } of processesOf(home)) process.kill(pid, 'SIGKILL')
    redis.thaw()
    await before.exited
    expect(new Set(segmentsOf(home).map((name) => name.split('/')[0]))).toEqual(new Set(['log', 'log-1']))
    const ownerOf = ({ event_id }: { event_id?: unknown }) => sharedId(redis, 'default:default', String(event_id)).state
    const claimed = events.filter((event) => ownerOf(event).startsWith('p')) // others came when Redis was known to be away
    const owners = claimed.map(ownerOf)
    return { home, startEngine, send, claimed, owners: new Set(owners).size }
  }

  test('what a killed worker had claimed is settled by who empties its log: a copy of it is known', async () => {
    let killed = await killWithClaims()
    // On a busy machine all events of a worker may come when Redis is known to be away.
    for (let tries = 1; killed.owners < 2 && tries < 4; tries++) killed = await killWithClaims()
    const { home, startEngine, send, claimed, owners } = killed
    expect(owners).toBe(2)

    engine = startEngine()
    const next = await start(home)
    await waitUntil('the drain has ended', () => processesOf(home).every(({ isDraining }) => !isDraining))
    expect(new Set(await send(claimed))).toEqual(new Set([201]))
    await waitUntil('every log is empty', () => segmentsOf(home).length === 0)
    expect(await next.query('SELECT count(), uniq(event_id) FROM events')).toBe('25\t25\n')
  })

  test('files of stored segments that a kill left in the logs of the others are deleted at once', async () => {
    const { home } = newHomeWithoutEngine()
    remember(home)
    const log = join(home.env.DATA_DIR ?? '', 'log-1')
    const spare = join(log, '00000000000000000003.spare')
    mkdirSync(log, { recursive: true })
    writeFileSync(spare, 'events of somebody')
    await start(home, { untilFlowing: false })
    await waitUntil('it is deleted', () => !existsSync(spare))
  })

  test('a log on disk is emptied, too, when the next start keeps events in memory only', async () => {
    const { home, startEngine } = newHomeWithoutEngine({ SHUTDOWN_DEADLINE_MS: '500' })
    remember(home)
    collector = await startCollector({ home, untilFlowing: false })
    expect((await collector.postEvents([makeDraft()])).status).toBe(201)
    expect(await collector.stop()).toBe(0)
    engine = startEngine()
    const next = await start({ ...home, env: { ...home.env, DURABILITY: 'memory' } })
    await waitUntil('the log is empty', () => segmentsOf(home).length === 0)
    expect(await next.query('SELECT count() FROM events')).toBe('1\n')
  })
})

const MAIN = join(import.meta.dir, '../../src/main.ts')
