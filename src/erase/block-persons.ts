/**
 * Whose events are in a Native block: reads the columns that say so. They stand before the JSON columns, and those are what ClickHouse may be
 * unable to read in a dead letter. The layout of the columns: `native/columns.ts`.
 */
import { BlockReader } from '../native/block-reader.ts'

/** Ids of one event, empty where it has none. */
export interface EventIds {
  readonly tenantId: string
  readonly workspaceId: string
  readonly userId: string
  readonly anonymousId: string
  readonly sessionId: string
}

const FIELDS = {
  tenant_id: 'tenantId',
  workspace_id: 'workspaceId',
  user_id: 'userId',
  anonymous_id: 'anonymousId',
  session_id: 'sessionId',
} as const
type Field = (typeof FIELDS)[keyof typeof FIELDS]

/** Bytes of one value, for columns that are passed over. */
const FIXED_BYTES: Readonly<Record<string, number>> = { UUID: 16, "DateTime64(3, 'UTC')": 8, IPv6: 16 }

/** The ids of every event, in their order; undefined when the block is not as this version writes it. */
export function readEventIds(block: Uint8Array): EventIds[] | undefined {
  const reader = new BlockReader(block)
  const columns = reader.varuint()
  const rows = reader.varuint()
  if (rows > block.byteLength) return undefined
  const found: Partial<Record<Field, (row: number) => string>> = {}
  for (let column = 0; column < columns; column += 1) {
    const name = reader.string() ?? ''
    const type = reader.string() ?? ''
    if (name === 'properties' || name === 'context') break // nothing that is looked for comes behind them
    const textOf = readColumn(reader, type, rows)
    if (textOf === undefined) return undefined
    if (name in FIELDS) found[FIELDS[name as keyof typeof FIELDS]] = textOf
  }
  return Array.from({ length: rows }, (_, row) => ({
    tenantId: found.tenantId?.(row) ?? '',
    workspaceId: found.workspaceId?.(row) ?? '',
    userId: found.userId?.(row) ?? '',
    anonymousId: found.anonymousId?.(row) ?? '',
    sessionId: found.sessionId?.(row) ?? '',
  }))
}

/** What gives a row's text; empty ones of columns that are passed over. Undefined: a type that this version does not write, or the end. */
function readColumn(reader: BlockReader, type: string, rows: number): ((row: number) => string) | undefined {
  if (type === 'LowCardinality(String)') return reader.lowCardinality(rows)
  if (type === 'String') {
    const values = reader.strings(rows)
    return values && ((row) => values[row] ?? '')
  }
  const bytes = FIXED_BYTES[type]
  return bytes === undefined || reader.bytes(bytes * rows) === undefined ? undefined : () => ''
}
