/** Ids of events on their way to and from Redis. */
import type { Batch } from '../batch.ts'
import { UUID_BYTES } from '../native/uuid.ts'

/** Ids of one workspace. */
export interface SharedIds {
  readonly tenantId: string
  readonly workspaceId: string
  /** UUIDs in ClickHouse's binary form, one behind another. */
  readonly bytes: Buffer
}

/** The ids of those events that have one. */
export function sharedIds(batch: Batch): SharedIds {
  const { tenantId, workspaceId, length } = batch
  const bytes = Buffer.allocUnsafe(UUID_BYTES * length)
  let end = 0
  for (let index = 0; index < length; index++) {
    if (!batch.hasId(index)) continue
    batch.writeId(index, bytes, end)
    end += UUID_BYTES
  }
  return { tenantId, workspaceId, bytes: bytes.subarray(0, end) }
}

/** The workspace in the names and values in Redis. Names have no colon in them. */
export function workspaceOf({ tenantId, workspaceId }: SharedIds): string {
  return `${tenantId}:${workspaceId}:`
}

/** What `workspaceOf` gives, and ids. */
export function readIds(claim: Buffer): SharedIds {
  const first = claim.indexOf(':')
  const second = claim.indexOf(':', first + 1)
  return {
    tenantId: claim.toString('utf8', 0, first),
    workspaceId: claim.toString('utf8', first + 1, second),
    bytes: claim.subarray(second + 1),
  }
}

/** How many ids there are. */
export function countOf({ bytes }: SharedIds): number {
  return bytes.byteLength / UUID_BYTES
}

/** In lots of at most so many. */
export function lotsOf(ids: SharedIds, idsMax: number): SharedIds[] {
  const { bytes } = ids
  const size = UUID_BYTES * idsMax
  if (bytes.byteLength <= size) return [ids]
  const lots: SharedIds[] = []
  for (let at = 0; at < bytes.byteLength; at += size) lots.push({ ...ids, bytes: bytes.subarray(at, at + size) })
  return lots
}

/** Those at these positions, each larger than the one before. */
export function pick(ids: SharedIds, positions: readonly number[]): SharedIds {
  if (positions.length === countOf(ids)) return ids
  const at = (position: number) => ids.bytes.subarray(UUID_BYTES * position, UUID_BYTES * (position + 1))
  return { ...ids, bytes: Buffer.concat(positions.map(at)) }
}
