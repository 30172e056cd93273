/**
 * The dead letters: blocks of events that ClickHouse cannot read, each in a file of its own, kept until somebody re-sends or
 * drops them. `<log id>-<segment number>-<record ordinal>.dead-letter` holds
 *
 *     one line of JSON: format, token, reason (code, message), rows, refused_at, block_bytes, block_crc32, shard, header_crc32
 *     the block: one Native block, the bytes that were acknowledged
 *
 * `header_crc32` is the CRC-32 of the line as it is without that field. The name depends on nothing but the record, so a record
 * that is refused again after a crash is the same file, and the token is the record's own, so that it can be re-sent any
 * number of times and is stored once. Files may come and go at any time: the command line works beside a running server.
 */
import { readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { crc32 } from 'node:zlib'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { errorCode } from '../log/file-system.ts'
import { type Problem, problem, reasonOf } from '../problem.ts'
import { DRAFT_SUFFIX, listNames, removeDrafts, removeDurably, writeDurably } from './durable-file.ts'

const FORMAT = 'penstock-dead-letter/1'
const SUFFIX = '.dead-letter'
const BY_NUMBERS = new Intl.Collator('en', { numeric: true })

const HEADER = Type.Object({
  format: Type.Literal(FORMAT),
  /** Insert deduplication token of this record alone. */
  token: Type.String({ minLength: 1 }),
  /** ClickHouse's error code, or how the connection ended. */
  code: Type.String(),
  message: Type.String(),
  rows: Type.Integer({ minimum: 1 }),
  /** ISO 8601. */
  refused_at: Type.String(),
  block_bytes: Type.Integer({ minimum: 1 }),
  block_crc32: Type.Integer({ minimum: 0 }),
  /** The one of a cluster that its segment was for, and that knows its token; from 1. */
  shard: Type.Optional(Type.Integer({ minimum: 1 })),
})

/** What the first line of a dead letter says, without its own checksum. */
export type DeadLetterHeader = Static<typeof HEADER>

/** One refused record. */
export interface DeadLetter {
  /** The file's name without its ending: how people name it. */
  readonly name: string
  readonly header: DeadLetterHeader
  /** A Native block. */
  readonly block: Uint8Array
}

/** A record that is refused. */
export interface RefusedRecord {
  /** Of its segment. */
  readonly segmentToken: string
  readonly ordinal: number
  readonly rows: number
  readonly code: string
  readonly message: string
  readonly block: Uint8Array
  /** Of the cluster, if there is one. */
  readonly shard?: number | undefined
}

/** The token under which a refused record is inserted by itself. */
export function deadLetterToken(segmentToken: string, ordinal: number): string {
  return `${segmentToken}/${ordinal}`
}

/** A token as part of a file name. */
export function tokenInName(token: string): string {
  return token.replaceAll(/[^A-Za-z0-9._-]/g, '-')
}

/** Where they are kept, as an absolute path. */
export function deadLettersDirectory(dataDir: string): string {
  return resolve(dataDir, 'dead-letters')
}

/** The dead letters of one directory. */
export class DeadLetters {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Keeps a record; it is on disk when this resolves. Throws the file system's error. */
  async keep(record: RefusedRecord): Promise<string> {
    const token = deadLetterToken(record.segmentToken, record.ordinal)
    const header: DeadLetterHeader = {
      format: FORMAT,
      token,
      code: record.code,
      message: record.message,
      rows: record.rows,
      refused_at: new Date().toISOString(),
      block_bytes: record.block.byteLength,
      block_crc32: crc32(record.block),
      ...(record.shard === undefined ? {} : { shard: record.shard }),
    }
    const name = tokenInName(token)
    const line = JSON.stringify({ ...header, header_crc32: crc32(JSON.stringify(header)) })
    await writeDurably(this.#directory, `${name}${SUFFIX}`, Buffer.concat([Buffer.from(`${line}\n`), record.block]))
    return name
  }

  /** How many there are now; 0 when the directory cannot be read. */
  count(): number {
    try {
      return readdirSync(this.#directory).filter((name) => name.endsWith(SUFFIX)).length
    } catch {
      return 0
    }
  }

  /** Their names, in the order of log, segment and record. Throws the file system's error. */
  async names(): Promise<string[]> {
    const names = await listNames(this.#directory)
    return names
      .flatMap((name) => (name.endsWith(SUFFIX) ? [name.slice(0, -SUFFIX.length)] : []))
      .sort(BY_NUMBERS.compare)
  }

  /** Files of dead letters that are being written, or that a crash left so. Throws the file system's error. */
  async drafts(): Promise<string[]> {
    const names = await listNames(this.#directory)
    return names.filter((name) => name.includes(`${SUFFIX}.`) && name.endsWith(DRAFT_SUFFIX))
  }

  /**
   * Removes drafts that a crash left, those of the last minute excepted. Nothing is lost: their records are in a segment, which is not released
   * before its dead letters are written. Throws the file system's error.
   */
  removeDrafts(): Promise<void> {
    return removeDrafts(this.#directory)
  }

  /** Reads one and holds it against its checksums. */
  async read(name: string): Promise<DeadLetter | Problem<'not_found' | 'damaged' | 'unreadable_file'>> {
    if (name !== tokenInName(name)) return problem('not_found', `there is no dead letter ${JSON.stringify(name)}`)
    const path = join(this.#directory, `${name}${SUFFIX}`)
    let content: Buffer
    try {
      content = await readFile(path)
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return problem('not_found', `there is no dead letter ${name}`)
      return problem('unreadable_file', `${path} cannot be read: ${reasonOf(error)}`)
    }
    return decode(name, content) ?? problem('damaged', `${path} is damaged: it is not what was written`)
  }

  /** Removes one for good; false when there was none. Throws the file system's error. */
  remove(name: string): Promise<boolean> {
    if (name !== tokenInName(name)) return Promise.resolve(false)
    return removeDurably(this.#directory, `${name}${SUFFIX}`)
  }
}

function decode(name: string, content: Buffer): DeadLetter | undefined {
  const lineEnd = content.indexOf('\n')
  let parsed: unknown
  try {
    parsed = JSON.parse(content.toString('utf8', 0, Math.max(0, lineEnd)))
  } catch {
    return undefined
  }
  if (typeof parsed !== 'object' || parsed === null || !('header_crc32' in parsed)) return undefined
  const { header_crc32: checksum, ...header } = parsed
  const block = content.subarray(lineEnd + 1)
  if (!Value.Check(HEADER, header) || crc32(JSON.stringify(header)) !== checksum) return undefined
  if (block.byteLength !== header.block_bytes || crc32(block) !== header.block_crc32) return undefined
  return { name, header, block }
}
