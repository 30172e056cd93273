/**
 * Which shard of a cluster takes which segment of a log. A segment goes to one shard, the same at every try, for its token is known to
 * that shard alone: sent to another one, it would be stored twice. So the choice depends on nothing but
 *
 * - the number of the segment: multiplied by the golden ratio, the fractions of consecutive numbers are spread as evenly as can be, so any
 *   few segments in a row are shared out by the weights; and it is known before the segment is read, so that a shard that is
 *   away leaves its segments untaken in the log;
 * - the weights of the shards that applied when the segment was begun, from `shards.json` in the log's directory:
 *
 *       {"format": "penstock-shards/1", "epochs": [{"from": 0, "weights": [1, 1]}, {"from": 4711, "weights": [1, 1, 1]}]}
 *
 *   From segment number `from` on, up to the next epoch, shard n + 1 has the weight `weights[n]`. When the cluster has other shards or
 *   weights than the last epoch says, a new one is added from the next number that no segment has, and is on disk before anything
 *   is sent. Epochs are never removed: a power cut can bring back the file of a segment that was stored long ago.
 */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { errorCode } from '../log/file-system.ts'
import { SHARDS_FILE } from '../log/log-directory.ts'
import { type Problem, problem } from '../problem.ts'
import { writeDurably } from './durable-file.ts'

const FORMAT = 'penstock-shards/1'

const EPOCHS = Type.Object({
  format: Type.Literal(FORMAT),
  epochs: Type.Array(
    Type.Object({
      from: Type.Integer({ minimum: 0 }),
      weights: Type.Array(Type.Integer({ minimum: 0 }), { minItems: 1 }),
    }),
    { minItems: 1 },
  ),
})

type Epoch = Static<typeof EPOCHS>['epochs'][number]

/** The choice for one log. */
export interface ShardPins {
  /** The highest number of a shard that a segment may go to. */
  readonly shards: number
  /** From 1, as in `system.clusters`. */
  shardOf(segmentNumber: number): number
}

/** What the pins of a log are made from. */
export interface ShardPinsOptions {
  /** The log's; undefined: the log is in memory, and so are its pins. */
  readonly directory: string | undefined
  /** Of shard 1, 2, 3 … now. */
  readonly weights: readonly number[]
  /** No segment has this number or a higher one yet. */
  readonly nextNumber: number
}

/**
 * Reads the pins and adds an epoch when the shards are others than before; that is on disk when this resolves. Throws the file system's
 * error. `damaged_shards`: there is a file and it cannot be understood: without it nothing may be sent.
 */
export async function openShardPins(options: ShardPinsOptions): Promise<ShardPins | Problem<'damaged_shards'>> {
  const { directory, nextNumber } = options
  const weights = options.weights.some((weight) => weight > 0) ? [...options.weights] : options.weights.map(() => 1)
  assert(weights.length > 0, 'a cluster has a shard')
  const known = directory === undefined ? [] : await readEpochs(directory)
  if (!Array.isArray(known)) return known
  const last = known.at(-1)
  const epochs = [...known]
  if (last === undefined || !Bun.deepEquals(last.weights, weights)) {
    // The first epoch is for whatever there is: nothing was sent to the cluster before.
    const from = last === undefined ? 0 : nextNumber
    epochs.push({ from, weights })
    if (directory !== undefined)
      await writeDurably(directory, SHARDS_FILE, Buffer.from(`${JSON.stringify({ format: FORMAT, epochs })}\n`))
  }
  return {
    shards: Math.max(...epochs.map((epoch) => epoch.weights.length)),
    shardOf(segmentNumber) {
      const epoch = epochs.findLast(({ from }) => from <= segmentNumber)
      assert(epoch !== undefined, 'the first epoch begins with 0')
      return chooseShard(segmentNumber, epoch.weights)
    },
  }
}

async function readEpochs(directory: string): Promise<Epoch[] | Problem<'damaged_shards'>> {
  const path = join(directory, SHARDS_FILE)
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return []
    throw error
  }
  try {
    const file: unknown = JSON.parse(text)
    if (Value.Check(EPOCHS, file) && file.epochs[0]?.from === 0) return file.epochs
  } catch {
    // Not JSON: damaged as well.
  }
  return problem(
    'damaged_shards',
    `${path} is damaged: it says which shard has which segment of the log, and without it events could be stored twice. Restore it`,
  )
}

/** 2^32 divided by the golden ratio. */
const GOLDEN = 0x9e3779b1

function chooseShard(segmentNumber: number, weights: readonly number[]): number {
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const fraction = (Math.imul(segmentNumber >>> 0, GOLDEN) >>> 0) / 2 ** 32
  let left = fraction * total
  for (const [index, weight] of weights.entries()) {
    left -= weight
    if (left < 0) return index + 1
  }
  return weights.findLastIndex((weight) => weight > 0) + 1
}
