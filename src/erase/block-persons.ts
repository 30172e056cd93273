/**
 * Whose events are in a Native block: reads the columns that say so. They stand before the JSON columns, and those are what ClickHouse may be
 * unable to read in a dead letter. The layout of the columns: `native/columns.ts`.
 */

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
  try {
    return new BlockReader(block).read()
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

class BlockReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(block: Uint8Array) {
    this.#bytes = Buffer.from(block.buffer, block.byteOffset, block.byteLength)
  }

  read(): EventIds[] {
    const columns = this.#varuint()
    const rows = this.#varuint()
    if (rows > this.#bytes.byteLength) throw new RangeError('more rows than bytes')
    const found: Partial<Record<Field, string[]>> = {}
    for (let column = 0; column < columns; column += 1) {
      const name = this.#string()
      const type = this.#string()
      if (name === 'properties' || name === 'context') break // nothing that is looked for comes behind them
      const values = this.#column(type, rows)
      if (name in FIELDS) found[FIELDS[name as keyof typeof FIELDS]] = values
    }
    return Array.from({ length: rows }, (_, row) => ({
      tenantId: found.tenantId?.[row] ?? '',
      workspaceId: found.workspaceId?.[row] ?? '',
      userId: found.userId?.[row] ?? '',
      anonymousId: found.anonymousId?.[row] ?? '',
      sessionId: found.sessionId?.[row] ?? '',
    }))
  }

  #column(type: string, rows: number): string[] {
    if (type === 'String') return Array.from({ length: rows }, () => this.#string())
    if (type === 'LowCardinality(String)') return this.#lowCardinality()
    const bytes = FIXED_BYTES[type]
    if (bytes === undefined) throw new RangeError(`a column of type ${type}`)
    this.#at += bytes * rows
    return []
  }

  #lowCardinality(): string[] {
    this.#int64() // version
    const indexBytes = 1 << (this.#int64() & 0xff)
    const size = this.#int64()
    const dictionary = Array.from({ length: Math.min(size, this.#bytes.byteLength) }, () => this.#string())
    const rows = this.#int64()
    const values: string[] = []
    for (let row = 0; row < rows; row += 1) {
      values.push(dictionary[this.#bytes.readUIntLE(this.#at, indexBytes)] ?? '')
      this.#at += indexBytes
    }
    return values
  }

  #string(): string {
    const length = this.#varuint()
    const end = this.#at + length
    if (end > this.#bytes.byteLength) throw new RangeError('a string beyond the end')
    const text = this.#bytes.toString('utf8', this.#at, end)
    this.#at = end
    return text
  }

  #int64(): number {
    const value = Number(this.#bytes.readBigUInt64LE(this.#at))
    this.#at += 8
    return value
  }

  #varuint(): number {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#bytes.readUInt8(this.#at)
      this.#at += 1
      value += (byte & 0x7f) * factor
      if (byte < 0x80) return value
    }
  }
}
