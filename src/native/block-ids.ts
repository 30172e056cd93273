/**
 * Reads the ids of the events out of a Native block: the columns `tenant_id`, `workspace_id` and `event_id`, with which every block
 * of `event-block.ts` begins. What is behind them is not looked at.
 */

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
  const reader = new Reader(block)
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

/** What gives a row's value in the column; the layout is described at `LowCardinalityColumn`. */
function readLowCardinality(reader: Reader, name: string, rows: number): ((row: number) => string) | undefined {
  if (reader.string() !== name || reader.string() !== 'LowCardinality(String)') return undefined
  reader.bytes(8) // version
  const indexBytes = 1 << ((reader.uint64() ?? 0) & 0xff)
  const size = reader.uint64() ?? 0
  const dictionary: string[] = []
  for (let index = 0; index < size; index++) {
    const value = reader.string()
    if (value === undefined) return undefined
    dictionary.push(value)
  }
  const indexes = reader.uint64() === rows ? reader.bytes(indexBytes * rows) : undefined
  if (indexes === undefined || indexBytes > 4) return undefined
  const view = new DataView(indexes.buffer, indexes.byteOffset, indexes.byteLength)
  return (row) => {
    const at = row * indexBytes
    const index =
      indexBytes === 1 ? view.getUint8(at) : indexBytes === 2 ? view.getUint16(at, true) : view.getUint32(at, true)
    return dictionary[index] ?? ''
  }
}

/** Reads a block from its beginning. Behind its end everything is undefined. */
class Reader {
  private readonly block: Buffer
  private position = 0

  constructor(block: Uint8Array) {
    this.block = Buffer.from(block.buffer, block.byteOffset, block.byteLength)
  }

  /** Unsigned LEB128 below 2^32. */
  varuint(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.block[this.position++] ?? 0
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) break
    }
    return value
  }

  uint64(): number | undefined {
    const bytes = this.bytes(8)
    return bytes && Number(bytes.readBigUInt64LE())
  }

  string(): string | undefined {
    return this.bytes(this.varuint())?.toString()
  }

  bytes(length: number): Buffer | undefined {
    const start = this.position
    this.position += length
    return this.position <= this.block.byteLength ? this.block.subarray(start, this.position) : undefined
  }
}
