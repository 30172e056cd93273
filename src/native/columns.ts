/**
 * The columns of a Native block other than JSON. A column gathers values row by row and writes itself as
 * `name, type, data` (strings as varuint length + UTF-8), as ClickHouse's Native format lays a column out.
 */
import assert from 'node:assert/strict'
import { ByteBuffer, nativeString, writeInt64 } from './byte-buffer.ts'
import { writeNewUuid, writeUuid } from './uuid.ts'

export interface Column {
  /** Name and type, as they stand in the block. */
  readonly header: Uint8Array
  /** Rows appended since the last `clear`. */
  readonly rows: number
  /** True when every value is the column's default: the block may leave the column out, ClickHouse fills it in. */
  readonly isDefault: boolean
  /** Exact size of what `writeTo` writes. */
  byteLength(): number
  /** Writes name, type and data at `offset`; gives the offset behind them. */
  writeTo(target: Uint8Array, offset: number): number
  clear(): void
}

/** `name` and `type` of a column as they stand in the block. */
export function columnHeader(name: string, type: string): Uint8Array {
  return Buffer.concat([nativeString(name), nativeString(type)])
}

/** What all columns but LowCardinality and JSON have in common: their data is the values, one behind the other. */
abstract class PlainColumn implements Column {
  rows = 0
  protected readonly values = new ByteBuffer(2048)
  readonly header: Uint8Array

  constructor(name: string, type: string) {
    this.header = columnHeader(name, type)
  }

  get isDefault(): boolean {
    return false
  }

  byteLength(): number {
    return this.header.length + this.values.length
  }

  writeTo(target: Uint8Array, offset: number): number {
    target.set(this.header, offset)
    return this.values.copyTo(target, offset + this.header.length)
  }

  clear(): void {
    this.rows = 0
    this.values.clear()
  }
}

/** String: each value as varuint length + bytes. */
export class StringColumn extends PlainColumn {
  constructor(name: string) {
    super(name, 'String')
  }

  override get isDefault(): boolean {
    return this.values.length === this.rows // every value is the single byte of length 0
  }

  append(value: string): void {
    this.values.string(value)
    this.rows++
  }
}

/** DateTime64(3, 'UTC'): Int64 milliseconds since the epoch. */
export class DateTimeColumn extends PlainColumn {
  constructor(name: string) {
    super(name, "DateTime64(3, 'UTC')")
  }

  /** @param timeMs milliseconds since the epoch, a whole number */
  append(timeMs: number): void {
    this.values.int64(timeMs)
    this.rows++
  }
}

/** UUID: 16 bytes, see `uuid.ts` for their order. */
export class UuidColumn extends PlainColumn {
  constructor(name: string) {
    super(name, 'UUID')
  }

  /** @param text a UUID in its canonical form */
  append(text: string): void {
    this.values.ensure(16)
    writeUuid(text, this.values.bytes, this.values.length)
    this.values.length += 16
    this.rows++
  }

  /** Appends a new UUIDv7. */
  appendNew(timeMs: number): void {
    this.values.ensure(16)
    writeNewUuid(timeMs, this.values.bytes, this.values.length)
    this.values.length += 16
    this.rows++
  }
}

/** IPv6: 16 bytes in network order. */
export class Ipv6Column extends PlainColumn {
  constructor(name: string) {
    super(name, 'IPv6')
  }

  append(address: Uint8Array): void {
    assert.equal(address.length, 16)
    this.values.ensure(16)
    const { bytes, length } = this.values
    for (let index = 0; index < 16; index++) bytes[length + index] = address[index] as number
    this.values.length += 16
    this.rows++
  }
}

/** Serialization version of the dictionary, then "additional keys in this block, dictionary needs an update" with the index type in the low byte. */
const DICTIONARY_VERSION = 1
const ADDITIONAL_KEYS_AND_UPDATE = 0x600

/**
 * LowCardinality(String): `u64 version`, `u64 flags | index type` (0, 1, 2 = u8, u16, u32), `u64 dictionary size`, the dictionary,
 * `u64 rows`, one index a row. Entry 0 of a dictionary is the empty string.
 */
export class LowCardinalityColumn implements Column {
  rows = 0
  readonly header: Uint8Array
  private readonly indexByValue = new Map<string, number>()
  private readonly dictionary = new ByteBuffer(512)
  private indexes: Uint8Array | Uint16Array | Uint32Array = new Uint8Array(256)
  private lastValue = ''
  private lastIndex = 0

  constructor(name: string) {
    this.header = columnHeader(name, 'LowCardinality(String)')
    this.clear()
  }

  get isDefault(): boolean {
    return this.indexByValue.size === 1
  }

  append(value: string): void {
    if (value !== this.lastValue) {
      this.lastIndex = this.indexByValue.get(value) ?? this.add(value)
      this.lastValue = value
    }
    if (this.rows === this.indexes.length) this.resize(this.rows * 2, this.indexes.BYTES_PER_ELEMENT)
    this.indexes[this.rows++] = this.lastIndex
  }

  private add(value: string): number {
    const index = this.indexByValue.size
    this.indexByValue.set(value, index)
    this.dictionary.string(value)
    if (index === 0x100) this.resize(this.indexes.length, 2)
    if (index === 0x10000) this.resize(this.indexes.length, 4)
    return index
  }

  private resize(capacityRows: number, indexBytes: number): void {
    const Indexes = indexBytes === 1 ? Uint8Array : indexBytes === 2 ? Uint16Array : Uint32Array
    const resized = new Indexes(capacityRows)
    resized.set(this.indexes.subarray(0, this.rows))
    this.indexes = resized
  }

  byteLength(): number {
    return this.header.length + 32 + this.dictionary.length + this.rows * this.indexes.BYTES_PER_ELEMENT
  }

  writeTo(target: Uint8Array, offset: number): number {
    target.set(this.header, offset)
    let at = offset + this.header.length
    const indexBytes = this.indexes.BYTES_PER_ELEMENT
    writeInt64(target, at, DICTIONARY_VERSION)
    writeInt64(target, at + 8, ADDITIONAL_KEYS_AND_UPDATE | (indexBytes >> 1))
    writeInt64(target, at + 16, this.indexByValue.size)
    at = this.dictionary.copyTo(target, at + 24)
    writeInt64(target, at, this.rows)
    const indexes = new Uint8Array(this.indexes.buffer, 0, this.rows * indexBytes)
    target.set(indexes, at + 8)
    return at + 8 + indexes.length
  }

  clear(): void {
    if (this.indexes.BYTES_PER_ELEMENT > 1) this.indexes = new Uint8Array(this.indexes.length)
    this.rows = 0
    this.indexByValue.clear()
    this.dictionary.clear()
    this.indexByValue.set('', 0)
    this.dictionary.string('')
    this.lastValue = ''
    this.lastIndex = 0
  }
}
