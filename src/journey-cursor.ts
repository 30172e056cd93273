/**
 * Where a page of a journey ended, as an opaque text that is good for one question only:
 *
 *     1 byte version, 8 bytes occurred_at in ms (signed), 16 bytes event id, 8 bytes SHA-256 of the question; base64url
 *
 * The digest is no secret and guards nothing: what may be read is decided by the key. It tells a mixed-up cursor from a good one.
 */
import { createHash } from 'node:crypto'
import { isStorableTime } from './timestamp.ts'

/** The last event of a page. */
export interface Position {
  /** Milliseconds since the epoch. */
  readonly occurredAt: number
  /** A UUID in its canonical form. */
  readonly eventId: string
}

/** What a cursor belongs to; the size of pages may change between them. */
export interface Question {
  readonly tenantId: string
  readonly workspaceId: string
  readonly userId: string
  readonly from?: number | undefined
  readonly to?: number | undefined
}

const VERSION = 1
const ID_AT = 9
const DIGEST_AT = 25
const CURSOR_BYTES = 33

export function cursorAt(position: Position, question: Question): string {
  const bytes = Buffer.alloc(CURSOR_BYTES)
  bytes[0] = VERSION
  bytes.writeBigInt64LE(BigInt(position.occurredAt), 1)
  bytes.write(position.eventId.replaceAll('-', ''), ID_AT, 'hex')
  digestOf(question).copy(bytes, DIGEST_AT)
  return bytes.toString('base64url')
}

/** @returns undefined when the text is no cursor, or one of another question */
export function positionOf(cursor: string, question: Question): Position | undefined {
  const bytes = Buffer.from(cursor, 'base64url')
  if (bytes.length !== CURSOR_BYTES || bytes[0] !== VERSION || bytes.toString('base64url') !== cursor) return undefined
  if (!bytes.subarray(DIGEST_AT).equals(digestOf(question))) return undefined
  const occurredAt = Number(bytes.readBigInt64LE(1))
  const hex = bytes.toString('hex', ID_AT, DIGEST_AT)
  const eventId = hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  return isStorableTime(occurredAt) ? { occurredAt, eventId } : undefined
}

function digestOf({ tenantId, workspaceId, userId, from, to }: Question): Buffer {
  const text = JSON.stringify([tenantId, workspaceId, userId, from ?? null, to ?? null])
  return createHash('sha256')
    .update(text)
    .digest()
    .subarray(0, CURSOR_BYTES - DIGEST_AT)
}
