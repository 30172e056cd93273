/**
 * Kills the collector and ClickHouse again and again, without warning and at random moments, while producers send, and then compares what
 * was acknowledged with what is stored. Tests run it for a few minutes; by hand it runs as long as one likes:
 *
 *     bun test/end-to-end/crash-loop.ts --kills 500 [--seed 7] [--external | --shards 2]
 */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { SEGMENT_HEADER_BYTES } from '../../src/log/segment.ts'
import { isProblem } from '../../src/problem.ts'
import { type EmbeddedClickHouse, startEmbeddedClickHouse } from '../../src/sink/embedded-clickhouse.ts'
import { freePort } from '../../src/sink/engine-setup.ts'
import { migrate } from '../../src/sink/migrations.ts'
import { QUERY_IS_RUNNING } from '../../src/sink/retry-rules.ts'
import { createLogger } from '../../src/telemetry/logger.ts'
import { type Account, accountFor, miscounted } from '../support/accounting.ts'
import {
  type Collector,
  type CollectorHome,
  type LogLine,
  newHome,
  startCollector,
  waitUntil,
} from '../support/collector.ts'
import { Producer } from '../support/producer.ts'
import { randomFrom } from '../support/random.ts'
import { type Shards, startShards } from '../support/shards.ts'

export interface CrashLoopOptions {
  /** Processes killed in all. */
  readonly kills: number
  /** Of all that is random here; the moments of the machine remain its own. */
  readonly seed: number
  /** ClickHouse is a server of its own that outlives the collector, reached by CLICKHOUSE_URL. */
  readonly external?: boolean
  /** ClickHouse is a cluster of so many servers, each a shard; one of them, any, is killed at a time. */
  readonly shards?: number
  readonly report?: (line: string) => void
}

/** What a crash loop found. `counts` must be the same everywhere, and `errors` empty. */
export interface CrashLoopResult extends Account {
  readonly kills: { collector: number; clickhouse: number; both: number; atStart: number }
  readonly damagedRecords: number
  /** How often the flusher told of which failure: ClickHouse is away all the time. */
  readonly insertFailures: Record<string, number>
  /** Events per type in `events` and in the sums of each aggregate. */
  readonly counts: Record<'events' | 'minute' | 'hour' | 'day', Record<string, number>>
  /** Sums over sessions, pages and referrers that are not those of the events; must be empty. */
  readonly miscounted: readonly string[]
  /** Lines of level error or above that do not just tell of the kills themselves; lines on stderr; a bad end. */
  readonly errors: string[]
}

const PRODUCERS = 6
/** Of half of the producers; the others send one. With 100 a busy machine needed more than ten minutes, to store what had piled up. */
const BATCH_EVENTS_MAX = 20
/** Small enough that segments are sealed, inserted and deleted all the time, and that some are read from their files. */
const ENVIRONMENT = { FLUSH_INTERVAL_MS: '50', SEGMENT_BYTES: '64KiB', RING_BYTES: '256KiB', LOG_LEVEL: 'info' }
const UP_MS_MAX = 3_000
const START_MS_MAX = 600
/** Nothing flushed for so long is a fault. ClickHouse may need 15 s to be started again after many kills. */
const STALL_MS = 60_000

/** Runs the loop and looks at what is stored. */
export async function crashLoop(options: CrashLoopOptions): Promise<CrashLoopResult> {
  const loop = new CrashLoop(options)
  try {
    return await loop.run()
  } finally {
    await loop.end()
  }
}

class CrashLoop {
  private readonly options: CrashLoopOptions
  private readonly random: () => number
  private home: CollectorHome
  private readonly enginePorts = { httpPort: freePort(), tcpPort: freePort() }
  private engine: EmbeddedClickHouse | undefined
  private shards: Shards | undefined
  private collector: Collector | undefined
  private readonly producers: Producer[]
  private readonly kills = { collector: 0, clickhouse: 0, both: 0, atStart: 0 }
  private readonly errors: string[] = []
  private damagedRecords = 0
  private readonly insertFailures: Record<string, number> = {}

  constructor(options: CrashLoopOptions) {
    this.options = options
    this.random = randomFrom(options.seed)
    const url = `http://127.0.0.1:${this.enginePorts.httpPort}`
    this.home = newHome({ ...ENVIRONMENT, ...(options.external ? { CLICKHOUSE_URL: url } : {}) })
    this.producers = Array.from({ length: PRODUCERS }, (_, number) => {
      const eventsMax = number % 2 === 0 ? BATCH_EVENTS_MAX : 1
      return new Producer({ name: `p${number}`, eventsMax, random: randomFrom(options.seed + number + 1), pauseMs: 10 })
    })
  }

  async run(): Promise<CrashLoopResult> {
    if (this.options.external) this.startEngine()
    if (this.options.shards !== undefined) await this.startShards(this.options.shards)
    this.collector = await this.start()
    const { url, key } = this.collector
    const sending = this.producers.map((producer) => producer.run(url, key))
    // A migration that was killed is taken over after 30 s: that has tests of its own.
    await this.untilFlowing(this.collector)
    for (let kill = 0; kill < this.options.kills; kill++) {
      if (this.random() < 0.5) await this.untilFlowing(this.collector)
      await Bun.sleep(this.random() ** 2 * UP_MS_MAX)
      await this.killSomething()
      this.options.report?.(`kill ${kill + 1}: ${JSON.stringify(this.kills)} ${this.acknowledged} acknowledged`)
    }
    for (const producer of this.producers) producer.stop()
    await Promise.all(sending)
    await this.drain(this.collector)
    const result = await this.compare(this.collector)
    this.gather(this.collector)
    const exitCode = await this.collector.stop()
    if (exitCode !== 0) this.errors.push(`the last collector ended with ${exitCode}`)
    return result
  }

  /** Nothing is left behind, however the run ended. */
  async end(): Promise<void> {
    for (const producer of this.producers) producer.stop()
    await this.collector?.kill9()
    await this.engine?.stop()
    await this.shards?.stop()
    this.home.remove()
  }

  private get acknowledged(): number {
    return this.producers.reduce((sum, producer) => sum + producer.acknowledged, 0)
  }

  private start(): Promise<Collector> {
    return startCollector({ home: this.home, untilFlowing: false })
  }

  private startEngine(): void {
    const dataDir = join(this.home.directory, 'engine')
    this.engine = startEmbeddedClickHouse({ dataDir, ...this.enginePorts, logger: createLogger({ level: 'silent' }) })
  }

  private async killSomething(): Promise<void> {
    const choice = this.random()
    if (choice < 0.35) {
      this.kills.collector++
      await this.killCollector()
    } else if (choice < 0.7) {
      this.kills.clickhouse++
      await this.killClickHouse()
    } else {
      this.kills.both++
      await (choice < 0.85
        ? Promise.all([this.killClickHouse(), this.killCollector()])
        : Promise.all([this.killCollector(), this.killClickHouse()]))
    }
  }

  private async killCollector(): Promise<void> {
    const { collector } = this
    if (collector === undefined) return
    await collector.kill9()
    this.gather(collector)
    if (this.random() < 0.3) await this.killAtStart()
    this.collector = await this.start()
    this.damagedRecords += (await this.collector.stats()).log.damaged_records
  }

  private async killAtStart(): Promise<void> {
    const afterMs = this.random() * START_MS_MAX
    let killed: Promise<unknown> = Promise.resolve()
    const onSpawn = (pid: number) => {
      killed = Bun.sleep(afterMs).then(() => process.kill(pid, 'SIGKILL'))
    }
    const started = startCollector({ home: this.home, untilFlowing: false, onSpawn })
    const collector = await started.catch(() => undefined)
    await killed
    if (collector === undefined) return void this.kills.atStart++
    await collector.exited
    this.gather(collector)
    this.kills.atStart++
  }

  private async startShards(count: number): Promise<void> {
    this.shards = await startShards(count, { all: Array.from({ length: count }, () => 1) })
    const [url = ''] = this.shards.urls
    const cluster = { name: 'all', isReplicated: false }
    for (const each of this.shards.urls) {
      const clickhouse = { url: each, user: 'default', password: '', database: 'penstock', cluster }
      const migrated = await migrate({ clickhouse, logger: createLogger({ level: 'silent' }) })
      if (isProblem(migrated)) throw new Error(migrated.message)
    }
    const env = { CLICKHOUSE_URL: url, CLICKHOUSE_CLUSTER: cluster.name, CLICKHOUSE_CLUSTER_REPLICATED: 'false' }
    this.home.remove()
    this.home = newHome({ ...ENVIRONMENT, ...env })
  }

  private async killClickHouse(): Promise<void> {
    const { shards } = this
    if (shards !== undefined) {
      const index = Math.floor(this.random() * shards.urls.length)
      await shards.kill9(index)
      shards.start(index).catch(() => undefined) // it may be killed before it is ready
      return
    }
    const pid = this.options.external ? this.engine?.pid : this.collector?.clickhousePid
    if (pid !== undefined) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {} // it has just ended
    }
    if (!this.options.external) return
    await this.engine?.stop()
    this.startEngine()
  }

  /** Otherwise most kills would hit a ClickHouse that is just on its way up, and no insert. */
  private async untilFlowing(collector: Collector): Promise<void> {
    const before = (await collector.stats()).flush.inserted_rows
    const isFlowing = async () => (await collector.stats()).flush.inserted_rows > before
    await waitUntil('events flow', isFlowing, STALL_MS).catch((error: unknown) => {
      const lines = collector.lines.slice(-20).map((line) => JSON.stringify(line))
      throw new Error(`${error}\n${collector.stderr}\n${lines.join('\n')}`)
    })
  }

  /** Waits until everything is flushed, as long as it goes on: how much has piled up depends on how long ClickHouse was away. */
  private async drain(collector: Collector): Promise<void> {
    let flushedBytes = -1
    for (;;) {
      const stats = await collector.stats()
      const { log } = stats
      if (log.flushed_bytes + log.refused_bytes === log.written_bytes) return
      this.options.report?.(`to be flushed: ${log.written_bytes - log.refused_bytes - log.flushed_bytes} bytes`)
      if (log.flushed_bytes === flushedBytes) {
        const lines = collector.lines.slice(-20).map((line) => JSON.stringify(line))
        throw new Error(`nothing was flushed in ${STALL_MS} ms: ${JSON.stringify(stats)}\n${lines.join('\n')}`)
      }
      flushedBytes = log.flushed_bytes
      await collector.flushed(STALL_MS).catch(() => undefined)
    }
  }

  /** What a collector that has ended leaves in its log. */
  private gather(collector: Collector): void {
    if (collector.stderr !== '') this.errors.push(collector.stderr)
    for (const line of collector.lines) {
      if (!/^(error|fatal)$/.test(line.level)) continue
      if (isOutage(line, this.options.shards !== undefined))
        this.insertFailures[String(line.code)] = (this.insertFailures[String(line.code)] ?? 0) + 1
      else if (!isOfKill(line)) this.errors.push(JSON.stringify(line))
    }
  }

  private async compare(collector: Collector): Promise<CrashLoopResult> {
    return {
      ...(await accountFor(collector, this.producers)),
      kills: this.kills,
      damagedRecords: this.damagedRecords,
      insertFailures: this.insertFailures,
      counts: {
        events: await countsOf(collector, 'count() FROM events'),
        minute: await countsOf(collector, 'sum(events) FROM events_per_minute'),
        hour: await countsOf(collector, 'sum(events) FROM events_per_hour'),
        day: await countsOf(collector, 'sum(events) FROM events_per_day'),
      },
      miscounted: await miscounted(collector),
      errors: this.errors,
    }
  }
}

async function countsOf(collector: Collector, what: string): Promise<Record<string, number>> {
  const text = await collector.query(`SELECT type, ${what} GROUP BY type ORDER BY type FORMAT TSV`)
  const lines = text.split('\n').filter(Boolean)
  return Object.fromEntries(lines.map((line) => line.split('\t')).map(([type, count]) => [type, Number(count)]))
}

/** A shard went away in the middle of an insert. */
const SHARD_LOST = '32'

/** What the flusher says when ClickHouse is not there: a code of the connection, or one of ClickHouse's own that a kill explains. */
function isOutage(line: LogLine, hasShards: boolean): boolean {
  if (line.msg !== 'an insert failed') return false
  const code = String(line.code)
  const isRunning = Number(code) === QUERY_IS_RUNNING // of a collector that was killed, in a ClickHouse that lives on
  return /^[A-Za-z_]+$/.test(code) || isRunning || (hasShards && code === SHARD_LOST)
}

/** What a kill leaves to be told: ClickHouse is started again, a segment file that had not even a header is moved away. */
function isOfKill(line: LogLine): boolean {
  if (line.msg === 'ClickHouse ended, starting it again') return line.signal === 'SIGKILL'
  return line.msg === 'no good record in a segment: set aside' && Number(line.bytes) < SEGMENT_HEADER_BYTES
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      kills: { type: 'string', default: '50' },
      seed: { type: 'string' },
      external: { type: 'boolean' },
      shards: { type: 'string' },
    },
  })
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
  const external = values.external === true
  const report = (line: string) => process.stdout.write(`${line}\n`)
  report(`seed ${seed}`)
  const shards = values.shards === undefined ? {} : { shards: Number(values.shards) }
  const result = await crashLoop({ kills: Number(values.kills), seed, external, report, ...shards })
  report(JSON.stringify(result, undefined, 2))
  const { lost, doubled, unknown, errors, counts } = result
  const wrong = [lost, doubled, unknown, errors, result.miscounted].some((list) => list.length > 0)
  const aggregates = [counts.minute, counts.hour, counts.day].every((sums) => Bun.deepEquals(sums, counts.events))
  process.exit(wrong || !aggregates ? 1 : 0)
}
