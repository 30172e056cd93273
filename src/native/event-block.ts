/**
 * Events gathered into one block of ClickHouse's Native format:
 *
 *     varuint columns, varuint rows, then per column: string name, string type, data
 *
 * A column whose every value is its default is left out; ClickHouse fills it in.
 */
import type { Event } from '../event.ts'
import { varuintBytes, writeVaruint } from './byte-buffer.ts'
import { type Column, DateTimeColumn, Ipv6Column, LowCardinalityColumn, StringColumn, UuidColumn } from './columns.ts'
import { JsonColumn } from './json-column.ts'

/** `max_dynamic_paths` of the JSON columns, as the migrations declare them. */
const JSON_DYNAMIC_PATHS_MAX = 0

export class EventBlock {
  private readonly tenantId = new LowCardinalityColumn('tenant_id')
  private readonly workspaceId = new LowCardinalityColumn('workspace_id')
  private readonly eventId = new UuidColumn('event_id')
  private readonly messageId = new StringColumn('message_id')
  private readonly type = new LowCardinalityColumn('type')
  private readonly protocol = new LowCardinalityColumn('protocol')
  private readonly occurredAt = new DateTimeColumn('occurred_at')
  private readonly receivedAt = new DateTimeColumn('received_at')
  private readonly sessionId = new StringColumn('session_id')
  private readonly userId = new StringColumn('user_id')
  private readonly anonymousId = new StringColumn('anonymous_id')
  private readonly url = new StringColumn('url')
  private readonly path = new StringColumn('path')
  private readonly referrer = new StringColumn('referrer')
  private readonly referrerHost = new LowCardinalityColumn('referrer_host')
  private readonly title = new StringColumn('title')
  private readonly locale = new LowCardinalityColumn('locale')
  private readonly userAgent = new LowCardinalityColumn('user_agent')
  private readonly browser = new LowCardinalityColumn('browser')
  private readonly os = new LowCardinalityColumn('os')
  private readonly device = new LowCardinalityColumn('device')
  private readonly ip = new Ipv6Column('ip')
  private readonly schemaVersion = new LowCardinalityColumn('schema_version')
  private readonly properties = new JsonColumn('properties', JSON_DYNAMIC_PATHS_MAX)
  private readonly context = new JsonColumn('context', JSON_DYNAMIC_PATHS_MAX)
  readonly columns: readonly Column[]

  constructor() {
    this.columns = Object.values(this).filter((value): value is Column => typeof value?.writeTo === 'function')
  }

  get rows(): number {
    return this.tenantId.rows
  }

  append(event: Event): void {
    this.tenantId.append(event.tenantId)
    this.workspaceId.append(event.workspaceId)
    if (event.eventId === undefined) this.eventId.appendNew(event.receivedAt)
    else this.eventId.append(event.eventId)
    this.messageId.append(event.messageId)
    this.type.append(event.type)
    this.protocol.append(event.protocol)
    this.occurredAt.append(event.occurredAt)
    this.receivedAt.append(event.receivedAt)
    this.sessionId.append(event.sessionId)
    this.userId.append(event.userId)
    this.anonymousId.append(event.anonymousId)
    this.url.append(event.url)
    this.path.append(event.path)
    this.referrer.append(event.referrer)
    this.referrerHost.append(event.referrerHost)
    this.title.append(event.title)
    this.locale.append(event.locale)
    this.userAgent.append(event.userAgent)
    this.browser.append(event.browser)
    this.os.append(event.os)
    this.device.append(event.device)
    this.ip.append(event.ip)
    this.schemaVersion.append(event.schemaVersion)
    this.properties.append(event.properties)
    this.context.append(event.context)
  }

  /** Exact size of what `writeTo` writes, in bytes. */
  get byteLength(): number {
    const { rows } = this
    let columns = 0
    let bytes = 0
    for (const column of this.columns) {
      if (column.isDefault) continue
      columns++
      bytes += column.byteLength()
    }
    return bytes + varuintBytes(columns) + varuintBytes(rows)
  }

  /** Writes the block at `offset`. */
  writeTo(target: Uint8Array, offset: number): void {
    let columns = 0
    for (const column of this.columns) if (!column.isDefault) columns++
    let at = writeVaruint(target, writeVaruint(target, offset, columns), this.rows)
    for (const column of this.columns) if (!column.isDefault) at = column.writeTo(target, at)
  }

  clear(): void {
    for (const column of this.columns) column.clear()
  }
}

/** Name and type of every column, in their order. */
export const COLUMN_HEADERS: readonly Uint8Array[] = new EventBlock().columns.map(({ header }) => header)
