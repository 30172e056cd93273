/** Events of one request on their way to the log, in the form in which they were read. */
import type { WorkspaceKeys } from './dedupe/id-keys.ts'
import type { Event } from './event.ts'
import type { EventBlock } from './native/event-block.ts'
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
  /** Whether any event has an id that its client gave. */
  readonly hasIds: boolean
  /** Whether an event has one. */
  hasId(index: number): boolean
  /** The key of such an id. */
  keyOf(index: number, keys: WorkspaceKeys): WorkspaceKeys
  /** Such an id, a UUID in lower case. */
  idOf(index: number): string
  /** Some of the events, in this order. Before `appendTo`. */
  pick(indexes: readonly number[]): Batch
  /** Puts the events into the block of their form. Once: the batch gives back what it held. */
  appendTo(blocks: OpenBlocks): void
}

/** Events as objects. */
export class EventBatch implements Batch {
  readonly events: readonly Event[]

  /** @param events of one workspace */
  constructor(events: readonly Event[]) {
    this.events = events
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

  get hasIds(): boolean {
    return this.events.some(({ eventId }) => eventId !== undefined)
  }

  hasId(index: number): boolean {
    return this.at(index).eventId !== undefined
  }

  keyOf(index: number, keys: WorkspaceKeys): WorkspaceKeys {
    return keys.ofText(this.at(index).eventId ?? '')
  }

  idOf(index: number): string {
    return (this.at(index).eventId ?? '').toLowerCase()
  }

  pick(indexes: readonly number[]): EventBatch {
    return new EventBatch(indexes.map((index) => this.at(index)))
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
