/**
 * Reads the ids of the events out of a Native block: the columns `tenant_id`, `workspace_id` and `event_id`, with which every block
 * of `event-block.ts` begins. What is behind them is not looked at.
 */
import { BlockReader } from './block-reader.ts'

/** The ids of a block's events, row by row. */
export interface BlockIds {
  readonly rows: number
  /** Tenant and workspace of a row. */
  tenantOf(row: number): string
  workspaceOf(row: number): string
  /** Where the rows' event ids begin: 16 bytes each, see `uuid.ts`. */
  readonly eventIds: DataView
}

/** Gives undefined when the block does not begin with these columns, or ends within them. */
export function readBlockIds(block: Uint8Array): BlockIds | undefined {
  const reader = new BlockReader(block)
  reader.varuint() // columns
  const rows = reader.varuint()
  const tenants = readLowCardinality(reader, 'tenant_id', rows)
  const workspaces = tenants && readLowCardinality(reader, 'workspace_id', rows)
  if (workspaces === undefined || tenants === undefined) return undefined
  if (reader.string() !== 'event_id' || reader.string() !== 'UUID') return undefined
  const eventIds = reader.bytes(16 * rows)
  if (eventIds === undefined) return undefined
  return {
    rows,
    tenantOf: tenants,
    workspaceOf: workspaces,
    eventIds: new DataView(eventIds.buffer, eventIds.byteOffset, eventIds.byteLength),
  }
}

/** What gives a row's value in the column that comes next, if it is the one of this name. */
function readLowCardinality(reader: BlockReader, name: string, rows: number): ((row: number) => string) | undefined {
  if (reader.string() !== name || reader.string() !== 'LowCardinality(String)') return undefined
  return reader.lowCardinality(rows)
}
