/**
 * How a segment with refused records is sent, kept on disk from before its first part is sent until long after the last:
 *
 *     <token>.plan       the segment goes in these parts; it is being sent
 *     <token>.plan.done  its segment was released; removed at a start a day or more later
 *
 * Without it a restart in the middle would ask ClickHouse again, and after an upgrade or a change of the table the answer may be
 * another: then the segment would be inserted as a whole beside parts of it that are stored already. A plan that is done is
 * kept for a while because a power cut can bring back the file of a released segment.
 */
import { createHash } from 'node:crypto'
import { readFile, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import type { SealedSegment } from '../log/event-log.ts'
import { tokenInName } from './dead-letters.ts'
import { listNames, removeDrafts, removeDurably, writeDurably } from './durable-file.ts'
import type { Narrowed } from './narrowing.ts'

const PLAN = Type.Object({
  token: Type.String(),
  /** First and last ordinal, inclusive, of the runs that make up each part. */
  parts: Type.Array(Type.Array(Type.Tuple([Type.Integer(), Type.Integer()]))),
  refused: Type.Array(Type.Object({ ordinal: Type.Integer(), code: Type.String(), message: Type.String() })),
})

/** How to send one segment, by the ordinals of its records. */
export type SplitPlan = Static<typeof PLAN>

const SUFFIX = '.plan'
const DONE_SUFFIX = '.plan.done'
const DONE_KEPT_MS = 24 * 3_600_000
const TOKEN_LENGTH_MAX = 200

/** Makes the plan that a finished search calls for. */
export function planOf(segment: SealedSegment, { parts, refused }: Narrowed): SplitPlan {
  return {
    token: segment.token,
    parts: parts.map((records) => {
      const runs: [number, number][] = []
      for (const { ordinal } of records) {
        const run = runs.at(-1)
        if (run !== undefined && run[1] === ordinal - 1) run[1] = ordinal
        else runs.push([ordinal, ordinal])
      }
      return runs
    }),
    refused: refused.map(({ record, code, message }) => ({ ordinal: record.ordinal, code, message })),
  }
}

/** The token of a part: it names the records, so the same part has the same token whenever it is sent. */
export function partToken(segmentToken: string, runs: SplitPlan['parts'][number]): string {
  const ranges = runs.map(([first, last]) => `${first}-${last}`).join(',')
  const token = `${segmentToken}/${ranges}`
  if (token.length <= TOKEN_LENGTH_MAX) return token
  return `${segmentToken}/${createHash('sha256').update(ranges).digest('hex')}`
}

/** Thrown for a plan that is there and cannot be understood. */
export class DamagedPlanError extends Error {
  override readonly name = 'DamagedPlanError'
  readonly code = 'DAMAGED_PLAN'
}

/** The plans in one directory. */
export class SplitPlans {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  /** Throws the file system's error, or DamagedPlanError: without its plan a segment must not be sent. */
  async find(segmentToken: string): Promise<{ readonly plan: SplitPlan; readonly isDone: boolean } | undefined> {
    const path = this.#path(segmentToken)
    const sending = await readFile(path, 'utf8').catch(ignoreMissing)
    const text = sending ?? (await readFile(`${path}.done`, 'utf8').catch(ignoreMissing))
    if (text === undefined) return undefined
    return { plan: parse(text, path, segmentToken), isDone: sending === undefined }
  }

  /** On disk when this resolves. */
  async keep(plan: SplitPlan): Promise<void> {
    await writeDurably(this.#directory, `${tokenInName(plan.token)}${SUFFIX}`, Buffer.from(JSON.stringify(plan)))
  }

  /** Its segment is released. */
  async finish(plan: SplitPlan): Promise<void> {
    const path = this.#path(plan.token)
    await rename(path, `${path}.done`).catch(ignoreMissing)
  }

  /** Removes what is of no use any more: plans that were done long ago, and drafts that a crash left. */
  async tidy(): Promise<void> {
    await removeDrafts(this.#directory)
    for (const name of await listNames(this.#directory)) {
      if (!name.endsWith(DONE_SUFFIX)) continue
      const status = await stat(join(this.#directory, name)).catch(ignoreMissing)
      const changedAt = status === undefined ? Date.now() : Math.max(status.mtimeMs, status.ctimeMs)
      if (Date.now() - changedAt > DONE_KEPT_MS) await removeDurably(this.#directory, name)
    }
  }

  #path(segmentToken: string): string {
    return join(this.#directory, `${tokenInName(segmentToken)}${SUFFIX}`)
  }
}

function parse(text: string, path: string, segmentToken: string): SplitPlan {
  try {
    const plan: unknown = JSON.parse(text)
    if (Value.Check(PLAN, plan) && plan.token === segmentToken) return plan
  } catch {
    // Not JSON: damaged as well.
  }
  throw new DamagedPlanError(`${path} is damaged: without it nobody knows which parts of the segment are stored`)
}

function ignoreMissing(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
  throw error
}
