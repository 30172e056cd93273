/** The scanner as it runs: what it exports, and what it asks of us. */
import { anonymize, parseAddress } from '../address.ts'
import { nameEventId } from '../event-reading.ts'
import { writeUuid } from '../native/uuid.ts'
import { hostOf, pathOf } from '../page-address.ts'
import { AgentCache } from '../user-agent.ts'

/** An address in the scanner's memory; 0 is nothing. */
export type Address = number

/** A dictionary of texts; see `scanner/assembly/dictionary.ts`. */
export type Dictionary = { readonly value: Address }

/** See `scanner/assembly/main.ts`. */
export interface ScannerExports {
  readonly memory: WebAssembly.Memory
  readonly defaultAddress: { readonly value: Address }
  readonly tenants: Dictionary
  readonly workspaces: Dictionary
  readonly protocols: Dictionary
  readonly schemaVersions: Dictionary
  readonly userAgents: Dictionary
  readonly browsers: Dictionary
  readonly systems: Dictionary
  readonly devices: Dictionary
  setSecret(value: bigint): void
  nameFields(at: Address, length: number): void
  tellAt(length: number): Address
  intern(dictionary: Address, length: number): Address
  setAgent(agent: Address, browser: Address, os: Address, device: Address): void
  setOwner(tenant: Address, workspace: Address, protocol: Address): void
  setRequest(receivedAt: number, latestAt: number, isAnonymous: boolean, version: Address, agent: Address): void
  inputOf(length: number): Address
  newRows(): Address
  memoryOf(rows: Address): number
  freeRows(rows: Address): void
  readBody(rows: Address): number
  readMessage(rows: Address): number
  sequence(): Address
  sequenceBytes(): number
  readLines(rows: Address): number
  lineCount(): number
  orderWork(): number
  pickRows(from: Address, to: Address): void
  idsOf(rows: Address): Address
  areIdsGiven(rows: Address): Address
  newBlock(): Address
  headerOf(block: Address, column: number, length: number): Address
  beginBlock(): void
  areTextsMany(): number
  forgetTexts(): void
  appendRows(rows: Address, block: Address): void
  rowsOf(block: Address): number
  bytesOf(block: Address): number
  writeBlock(block: Address): Address
  clearBlock(block: Address): void
}

/** Keys of an event and of its context, in the order of `Field` in `scanner/assembly/event.ts`. */
const FIELDS =
  'type timestamp session_id event_id user_id anonymous_id schema_version properties context ip user_agent locale page_url page_title referrer'

/** The scanner's functions, and its memory as bytes. */
export class ScannerModule {
  readonly exports: ScannerExports
  private view: Buffer
  private dataView: DataView
  private readonly agents = new AgentCache()
  /** Whether addresses of the request that is being read are cut to their network. */
  isAnonymous = false

  /** @param module see `compiled.ts` */
  constructor(module: WebAssembly.Module) {
    const { exports } = new WebAssembly.Instance(module, { host: this.host(), env: { abort } })
    this.exports = exports as unknown as ScannerExports
    this.view = Buffer.from(this.exports.memory.buffer)
    this.dataView = new DataView(this.exports.memory.buffer)
    this.exports.setSecret(crypto.getRandomValues(new BigUint64Array(1))[0] as bigint)
    const fields = FIELDS.replaceAll(/$| /g, '"')
    this.exports.nameFields(this.tell(fields), fields.length)
  }

  /** All of its memory, until anything of it is called: it may have grown then, and lie elsewhere. */
  get memory(): Buffer {
    if (this.view.byteLength === 0) this.look()
    return this.view
  }

  /** The same. */
  get data(): DataView {
    if (this.view.byteLength === 0) this.look()
    return this.dataView
  }

  private look(): void {
    const { buffer } = this.exports.memory
    this.view = Buffer.from(buffer)
    this.dataView = new DataView(buffer)
  }

  /** Writes a text to where one is told; gives its address. */
  tell(text: string): Address {
    const at = this.exports.tellAt(Buffer.byteLength(text))
    this.memory.write(text, at)
    return at
  }

  /** The entry of a text in a dictionary; 0 when there are too many. */
  intern(dictionary: Dictionary, text: string): Address {
    this.tell(text)
    return this.exports.intern(dictionary.value, Buffer.byteLength(text))
  }

  private text(at: Address, length: number): string {
    return this.memory.toString('utf8', at, at + length)
  }

  /** What `scanner/assembly/host.ts` declares. */
  private host() {
    return {
      parseNumber: (at: Address, length: number) => Number(this.text(at, length)),
      parseAddress: (at: Address, length: number, target: Address) => {
        const address = parseAddress(this.text(at, length))
        if (address === undefined) return 0
        this.memory.set(this.isAnonymous ? anonymize(address) : address, target)
        return 1
      },
      pathOf: (at: Address, length: number, target: Address, room: number) =>
        this.answer(pathOf(this.text(at, length)), target, room),
      hostOf: (at: Address, length: number, target: Address, room: number) =>
        this.answer(hostOf(this.text(at, length)), target, room),
      readAgent: (at: Address, length: number, agent: Address) => {
        const { browser, os, device } = this.agents.read(this.text(at, length))
        const { browsers, systems, devices } = this.exports
        const said = [this.intern(browsers, browser), this.intern(systems, os), this.intern(devices, device)] as const
        if (!said.includes(0)) this.exports.setAgent(agent, ...said)
      },
      nameId: (at: Address, length: number, target: Address) => {
        writeUuid(nameEventId(this.text(at, length)), this.memory, target)
      },
      fillRandom: (at: Address, length: number) => {
        crypto.getRandomValues(this.memory.subarray(at, at + length))
      },
    }
  }

  private answer(text: string, target: Address, room: number): number {
    return Buffer.byteLength(text) > room ? -1 : this.memory.write(text, target)
  }
}

/** What the compiler's library calls when there is no memory any more. */
function abort(): never {
  throw new Error('the scanner has no more memory')
}
