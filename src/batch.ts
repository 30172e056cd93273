/** Events of one request on their way to the log, in the form in which they were read. */
import type { WorkspaceKeys } from './dedupe/id-keys.ts'
import type { Event } from './event.ts'
import { EventBlock } from './native/event-block.ts'
import { writeUuid } from './native/uuid.ts'
import type { ScannedBlock } from './scan/scanned-block.ts'

/** What is gathered until the next commit: a Native block for each form of events. */
export interface OpenBlocks {
  readonly events: EventBlock
  readonly scanned: ScannedBlock
}

/** Events of one workspace. */
export interface Batch {
  readonly length: number
  readonly tenantId: string
  readonly workspaceId: string
  /** What the events take in a block at most, in bytes: an estimate that costs nothing. */
  readonly bytesMax: number
  /** Whether they take so many bytes at most; measured when the estimate does not tell. */
  isWithin(bytesMax: number): boolean
  /** Whether any event has an id that its client gave. */
  readonly hasIds: boolean
  /** Whether an event has one. */
  hasId(index: number): boolean
  /** The key of such an id. */
  keyOf(index: number, keys: WorkspaceKeys): WorkspaceKeys
  /** Writes such an id: 16 bytes, as in `native/uuid.ts`. */
  writeId(index: number, target: Uint8Array, offset: number): void
  /** Some of the events, in this order. Before `appendTo`. */
  pick(indexes: readonly number[]): Batch
  /** Puts the events into the block of their form. Once: the batch gives back what it held. */
  appendTo(blocks: OpenBlocks): void
}

/** Of an event what has one size in every block, lengths of texts, and places in dictionaries. */
const EVENT_BYTES_MAX = 256
/** Most bytes that a character of a text takes. */
const CHAR_BYTES_MAX = 3

/** Events as objects. */
export class EventBatch implements Batch {
  readonly events: readonly Event[]

  private readonly jsonBytesMax: number
  private estimate: number | undefined

  /**
   * @param events of one workspace
   * @param jsonBytesMax what their JSON objects take in a block at most
   */
  constructor(events: readonly Event[], jsonBytesMax: number) {
    this.events = events
    this.jsonBytesMax = jsonBytesMax
  }

  get length(): number {
    return this.events.length
  }

  get tenantId(): string {
    return this.at(0).tenantId
  }

  get workspaceId(): string {
    return this.at(0).workspaceId
  }

  get bytesMax(): number {
    this.estimate ??= this.jsonBytesMax + textBytesMax(this.events)
    return this.estimate
  }

  isWithin(bytesMax: number): boolean {
    if (this.bytesMax <= bytesMax) return true
    const block = new EventBlock()
    for (const event of this.events) {
      block.append(event)
      if (block.byteLength > bytesMax) return false
    }
    this.estimate = block.byteLength
    return true
  }

  get hasIds(): boolean {
    return this.events.some(({ eventId }) => eventId !== undefined)
  }

  hasId(index: number): boolean {
    return this.at(index).eventId !== undefined
  }

  keyOf(index: number, keys: WorkspaceKeys): WorkspaceKeys {
    return keys.ofText(this.at(index).eventId ?? '')
  }

  writeId(index: number, target: Uint8Array, offset: number): void {
    writeUuid(this.at(index).eventId ?? '', target, offset)
  }

  pick(indexes: readonly number[]): EventBatch {
    const picked = indexes.map((index) => this.at(index))
    return new EventBatch(picked, this.jsonBytesMax)
  }

  appendTo({ events: block }: OpenBlocks): void {
    for (const event of this.events) {
      block.append(event)
      // What was parsed is not needed any more, and would be alive until the commit: the garbage collector would find it again and again.
      event.properties = NOTHING
      event.context = NOTHING
    }
  }

  private at(index: number): Event {
    return this.events[index] as Event
  }
}

const NOTHING = Object.freeze({})

/** What events take in a block at most beside their JSON objects, in bytes. */
function textBytesMax(events: readonly Event[]): number {
  let chars = 0
  for (const event of events) {
    chars += event.tenantId.length + event.workspaceId.length + event.messageId.length + event.type.length
    chars += event.sessionId.length + event.userId.length + event.anonymousId.length + event.url.length
    chars += event.path.length + event.referrer.length + event.referrerHost.length + event.title.length
    chars += event.locale.length + event.userAgent.length + event.browser.length + event.os.length
    chars += event.device.length + event.schemaVersion.length + event.protocol.length
  }
  return EVENT_BYTES_MAX * events.length + CHAR_BYTES_MAX * chars
}
