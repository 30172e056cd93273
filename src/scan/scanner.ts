/**
 * Reads the events of a request out of its bytes into columns, without objects in between: three to five times as fast as parsing, checking and
 * encoding them, and without garbage. For the canonical protocol; what is unusual about a request is left to the others
 * (`draft.ts`, `native/`), which say the same of it in more words. `scanner/` has the code; it runs in memory of its own.
 */
import { CLOCK_TOLERANCE_MS, type RequestFacts } from '../event-reading.ts'
import { isProblem } from '../problem.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { compiledScanner } from './compiled.ts'
import { type Address, ScannerModule } from './module.ts'
import { type HeldRows, RowsPool } from './rows-pool.ts'
import { ModuleBlock } from './scanned-block.ts'
import { ScannedRows } from './scanned-rows.ts'

/** What is to be read: `{"events": [event, …]}`; `[event, …]` or `{"events": [event, …], "seq"?}`; an event a line. */
export type ScanForm = 'body' | 'message' | 'lines'

const READERS = { body: 'readBody', message: 'readMessage', lines: 'readLines' } as const

/** A larger body is not scanned: the scanner's memory never becomes smaller again. */
const SCAN_BYTES_MAX = 2 * 1024 * 1024

/** See the head of this file. */
export class Scanner {
  private readonly module: ScannerModule
  private readonly logger: Logger
  private readonly pool: RowsPool
  private hasFailed = false
  /** What was told of the request before, which most have in common; undefined: nothing, or all texts were forgotten since then. */
  private owner: { readonly tenantId: string; readonly workspaceId: string; readonly protocol: string } | undefined
  private defaults: { readonly schemaVersion: string; readonly userAgent: string } | undefined
  private schemaVersion: Address = 0
  private userAgent: Address = 0

  constructor(module: ScannerModule, logger: Logger) {
    this.module = module
    this.pool = new RowsPool(module.exports)
    this.logger = logger
  }

  /** Undefined, with a warning, where it cannot run: everything works without it, more slowly. */
  static open(logger: Logger, compiled: ReturnType<typeof compiledScanner>): Scanner | undefined {
    if (!isProblem(compiled)) return new Scanner(new ScannerModule(compiled), logger)
    logger.warn(`events are read without the scanner, which takes more CPU: ${compiled.message}`)
    return undefined
  }

  /** The events of a request, undefined when anything about it is unusual. `release` them at the end. */
  read(facts: RequestFacts, body: Uint8Array | string, form: ScanForm): ScannedRows | undefined {
    if (this.hasFailed || this.pool.isFull || body.length > SCAN_BYTES_MAX) return undefined
    try {
      return this.scan(facts, body, form)
    } catch (error) {
      this.fail(error)
      return undefined
    }
  }

  private fail(error: unknown): void {
    this.hasFailed = true
    this.logger.error({ err: error }, 'the scanner failed, events are read without it from now on: this is a bug')
  }

  private scan(facts: RequestFacts, body: Uint8Array | string, form: ScanForm): ScannedRows | undefined {
    const { module } = this
    const { exports } = module
    if (!this.tell(facts)) return undefined
    const bodyBytes = Buffer.byteLength(body)
    const input = exports.inputOf(bodyBytes)
    if (typeof body === 'string') module.memory.write(body, input)
    else module.memory.set(body, input)
    const rows = this.pool.take()
    const length = exports[READERS[form]](rows)
    if (length === 0) {
      this.pool.giveBack(rows)
      return undefined
    }
    const textBytes = bodyBytes + 3 * (facts.userAgent.length + facts.schemaVersion.length)
    return new ScannedRows(this, module, { rows: this.pool.hold(rows), length, textBytes }, facts.key)
  }

  /** Says what all events of a request have; false when there is no room for its texts. */
  private tell(facts: RequestFacts): boolean {
    const { module, owner, defaults } = this
    const { exports } = module
    const { tenantId, workspaceId } = facts.key
    const { protocol, schemaVersion, userAgent } = facts
    if (tenantId !== owner?.tenantId || workspaceId !== owner.workspaceId || protocol !== owner.protocol) {
      const tenant = module.intern(exports.tenants, tenantId)
      const workspace = module.intern(exports.workspaces, workspaceId)
      const door = module.intern(exports.protocols, protocol)
      if (tenant === 0 || workspace === 0 || door === 0) return false
      exports.setOwner(tenant, workspace, door)
      this.owner = { tenantId, workspaceId, protocol }
    }
    if (schemaVersion !== defaults?.schemaVersion || userAgent !== defaults.userAgent) {
      const version = module.intern(exports.schemaVersions, schemaVersion)
      const agent = module.intern(exports.userAgents, userAgent)
      if (version === 0 || agent === 0) return false
      this.schemaVersion = version
      this.userAgent = agent
      this.defaults = { schemaVersion, userAgent }
    }
    module.isAnonymous = facts.anonymizeIp
    module.memory.set(facts.ip, exports.defaultAddress.value)
    const { receivedAt, anonymizeIp } = facts
    exports.setRequest(receivedAt, receivedAt + CLOCK_TOLERANCE_MS, anonymizeIp, this.schemaVersion, this.userAgent)
    return true
  }

  /** Requests whose rows are not released, and what these hold of the memory, in bytes. */
  get held(): { readonly rows: number; readonly bytes: number } {
    return { rows: this.pool.heldRows, bytes: this.pool.heldBytes }
  }

  /** Of its memory, which only grows. */
  get memoryBytes(): number {
    return this.module.memory.byteLength
  }

  /** What the order of paths has cost: texts that were compared, and ranks that were given. */
  get orderWork(): number {
    return this.module.exports.orderWork()
  }

  /** Of the lines that were read last: their number, empty ones too. */
  get lines(): number {
    return this.module.exports.lineCount()
  }

  /** Of the message that was read last: `seq` as JSON; empty when there is none. */
  get sequence(): string {
    const { module } = this
    const at = module.exports.sequence()
    return module.memory.toString('latin1', at, at + module.exports.sequenceBytes())
  }

  newBlock(): ModuleBlock {
    return new ModuleBlock(this.module)
  }

  /** A block is gathered from now on, and none that was gathered before. */
  beginBlock(): void {
    const { exports } = this.module
    exports.beginBlock()
    if (this.pool.heldRows > 0 || exports.areTextsMany() === 0) return
    exports.forgetTexts()
    this.owner = undefined
    this.defaults = undefined
  }

  /** Rows go into a block. When it throws, the block is good for nothing but to be cleared. */
  append(rows: Address, block: ModuleBlock): void {
    try {
      this.module.exports.appendRows(rows, block.address)
    } catch (error) {
      this.fail(error)
      throw error
    }
  }

  /** Some rows of others, by a byte for each that is not 0 when it is wanted, go into a block. */
  appendPicked(rows: Address, wanted: Uint8Array, block: ModuleBlock): void {
    const { module } = this
    const { exports } = module
    const picked = this.pool.take()
    const at = exports.tellAt(wanted.length)
    module.memory.set(wanted, at)
    exports.pickRows(rows, picked)
    this.append(picked, block)
    this.pool.giveBack(picked)
  }

  release(rows: HeldRows): void {
    this.pool.release(rows)
  }
}
