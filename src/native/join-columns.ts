/** Columns of blocks that are joined: data are copied; of a LowCardinality column the dictionaries become one, and indexes are translated. */
import assert from 'node:assert/strict'
import { NotOurs, type Source } from './block-source.ts'
import { ByteBuffer, writeInt64 } from './byte-buffer.ts'

/** A column of the block that is made. */
export interface JoinedColumn {
  readonly isDefault: boolean
  readonly byteLength: number
  /** Takes the data of so many rows. */
  read(source: Source, rows: number): void
  /** So many rows of a block that leaves the column out. */
  addDefaults(rows: number): void
  /** Gives the offset behind the data. */
  writeTo(target: Uint8Array, offset: number): number
  clear(): void
}

/** Values of one size, which no block leaves out. */
class FixedColumn implements JoinedColumn {
  readonly isDefault = false
  private readonly data = new ByteBuffer(1024)
  private readonly valueBytes: number

  constructor(valueBytes: number) {
    this.valueBytes = valueBytes
  }

  get byteLength(): number {
    return this.data.length
  }

  read(source: Source, rows: number): void {
    source.copy(source.skip(rows * this.valueBytes), this.data)
  }

  addDefaults(): void {
    throw new NotOurs()
  }

  writeTo(target: Uint8Array, offset: number): number {
    return this.data.copyTo(target, offset)
  }

  clear(): void {
    this.data.clear()
  }
}

/** String */
class TextColumn implements JoinedColumn {
  private readonly data = new ByteBuffer(1024)
  private rows = 0

  get isDefault(): boolean {
    return this.data.length === this.rows
  }

  get byteLength(): number {
    return this.data.length
  }

  read(source: Source, rows: number): void {
    source.copy(source.skipTexts(rows), this.data)
    this.rows += rows
  }

  addDefaults(rows: number): void {
    for (let row = 0; row < rows; row++) this.data.byte(0)
    this.rows += rows
  }

  writeTo(target: Uint8Array, offset: number): number {
    return this.data.copyTo(target, offset)
  }

  clear(): void {
    this.data.clear()
    this.rows = 0
  }
}

/** `u64 1`, `u64 flags | index type`, `u64 entries` in front of the dictionary, `u64 rows` behind it. */
const LOW_CARDINALITY_BYTES = 32
const ADDITIONAL_KEYS_AND_UPDATE = 0x600

/** LowCardinality(String); see `columns.ts`. */
class LowCardinalityColumn implements JoinedColumn {
  /** By the text's bytes, one a character, with its length in front. */
  private readonly indexes = new Map<string, number>()
  private readonly dictionary = new ByteBuffer(512)
  private readonly rows: number[] = []
  /** Of the block that is read: what its indexes are here. */
  private readonly translated: number[] = []

  constructor() {
    this.clear()
  }

  get isDefault(): boolean {
    return this.indexes.size === 1
  }

  private get indexBytes(): number {
    return this.indexes.size <= 0x100 ? 1 : this.indexes.size <= 0x10000 ? 2 : 4
  }

  get byteLength(): number {
    return LOW_CARDINALITY_BYTES + this.dictionary.length + this.rows.length * this.indexBytes
  }

  read(source: Source, rows: number): void {
    const version = source.int64()
    const indexType = source.int64() - ADDITIONAL_KEYS_AND_UPDATE
    if (version !== 1 || ![0, 1, 2].includes(indexType)) throw new NotOurs()
    const { translated } = this
    translated.length = 0
    for (let entries = source.int64(); entries > 0; entries--) {
      const begin = source.skipTexts(1)
      const text = source.bytes.toString('latin1', begin, source.at)
      translated.push(this.indexes.get(text) ?? this.add(text, source, begin))
    }
    if (source.int64() !== rows) throw new NotOurs()
    const { bytes } = source
    const begin = source.skip(rows << indexType)
    for (let at = begin; at < source.at; at += 1 << indexType) {
      const index = indexType === 0 ? bytes[at] : indexType === 1 ? bytes.readUInt16LE(at) : bytes.readUInt32LE(at)
      const own = translated[index as number]
      if (own === undefined) throw new NotOurs()
      this.rows.push(own)
    }
  }

  private add(text: string, source: Source, begin: number): number {
    const index = this.indexes.size
    this.indexes.set(text, index)
    source.copy(begin, this.dictionary)
    return index
  }

  addDefaults(rows: number): void {
    for (let row = 0; row < rows; row++) this.rows.push(0)
  }

  writeTo(target: Uint8Array, offset: number): number {
    const { rows, indexBytes } = this
    writeInt64(target, offset, 1)
    writeInt64(target, offset + 8, ADDITIONAL_KEYS_AND_UPDATE | (indexBytes >> 1))
    writeInt64(target, offset + 16, this.indexes.size)
    let at = this.dictionary.copyTo(target, offset + 24)
    writeInt64(target, at, rows.length)
    at += 8
    for (const index of rows) {
      for (let byte = 0; byte < indexBytes; byte++) target[at++] = index >>> (8 * byte)
    }
    return at
  }

  clear(): void {
    this.rows.length = 0
    this.indexes.clear()
    this.indexes.set(EMPTY_TEXT, 0)
    this.dictionary.clear()
    this.dictionary.byte(0)
  }
}

/** A length of 0 and nothing behind it, which is the first text of every dictionary. */
const EMPTY_TEXT = '\0'

/** JSON, all of it in the shared data; see `json-column.ts`. */
class JsonColumn implements JoinedColumn {
  private readonly ends = new ByteBuffer(1024)
  private readonly paths = new ByteBuffer(2048)
  private readonly values = new ByteBuffer(2048)
  private entries = 0

  get isDefault(): boolean {
    return this.entries === 0
  }

  get byteLength(): number {
    return JSON_PREFIX.length + this.ends.length + this.paths.length + this.values.length
  }

  read(source: Source, rows: number): void {
    if (!source.isHeader(JSON_PREFIX)) throw new NotOurs()
    const before = this.entries
    for (let row = 0; row < rows; row++) {
      this.entries = before + source.int64()
      this.ends.int64(this.entries)
    }
    source.copy(source.skipTexts(this.entries - before), this.paths)
    source.copy(source.skipTexts(this.entries - before), this.values)
  }

  addDefaults(rows: number): void {
    for (let row = 0; row < rows; row++) this.ends.int64(this.entries)
  }

  writeTo(target: Uint8Array, offset: number): number {
    target.set(JSON_PREFIX, offset)
    const at = this.paths.copyTo(target, this.ends.copyTo(target, offset + JSON_PREFIX.length))
    return this.values.copyTo(target, at)
  }

  clear(): void {
    this.ends.clear()
    this.paths.clear()
    this.values.clear()
    this.entries = 0
  }
}

/** `u64 0`, varuint `max_dynamic_paths`, varuint 0; in the tables those are 0. */
const JSON_PREFIX = new Uint8Array(10)

/** By the type, which stands behind the name; each with its length in front. */
export function columnOf(header: Uint8Array): JoinedColumn {
  const nameBytes = header[0] as number
  const type = Buffer.from(header.subarray(nameBytes + 2)).toString()
  switch (type) {
    case 'UUID':
    case 'IPv6':
      return new FixedColumn(16)
    case "DateTime64(3, 'UTC')":
      return new FixedColumn(8)
    case 'String':
      return new TextColumn()
    case 'LowCardinality(String)':
      return new LowCardinalityColumn()
    default:
      assert(type === 'JSON(max_dynamic_paths=0)', `how are columns of type ${type} joined?`)
      return new JsonColumn()
  }
}
