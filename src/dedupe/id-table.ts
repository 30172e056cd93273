/**
 * The ids that are remembered: a set of 96-bit keys, bounded in number and in age, that forgets the oldest.
 *
 * Keys are spread evenly (see `id-keys.ts`), so their bits are positions as they are: those of the first word choose a shard, those of
 * the second a slot. A shard has two generations, open-addressed tables with linear probing. New keys go into the current one; when it is
 * full or old enough it becomes the previous one, and what was previous is forgotten. So a key is remembered for `windowMs` at least
 * and twice that at most, unless more than `idsMax` come in that time: then the newest half of `idsMax` at least is remembered.
 * A table grows and rotates for itself, with a few thousand keys: nothing here takes longer than some tens of microseconds at a time.
 *
 *     slot, 17 bytes:  tag, 1 byte, 0 = empty · key, 3 words · mark, 1 word: who brought the key
 *
 * The tags stand apart: a search that finds nothing reads a few neighbouring bytes and no slot. With 2 million keys held, on two cores
 * (EPYC, 1 MiB of second-level cache), that made adding a key 80 ns instead of 200. At the most a key takes 22.7 bytes.
 */
import assert from 'node:assert/strict'

/** Full enough for 22.7 bytes a key, empty enough to end a search after 9 tags when the key is not there. */
const FILL = 0.75
/** Keys of a full generation in a shard at most; what is moved when it grows stays in the second-level cache. */
const GENERATION_KEYS_MAX = 4096
const SLOTS_MIN = 16
const GROWTH = 1.5
const SLOT_BYTES = 17

/** A table of one shard. `mark` 0 is nobody's, so it says that there is no such key. */
class Generation {
  readonly slots: number
  /** Keys that fit before it is to grow or rotate. */
  readonly room: number
  private readonly tags: Uint8Array
  private readonly words: Int32Array

  constructor(keys: number) {
    this.slots = keys === 0 ? 1 : Math.max(SLOTS_MIN, Math.ceil(keys / FILL))
    this.room = keys === 0 ? 0 : Math.floor(this.slots * FILL)
    this.tags = new Uint8Array(this.slots)
    this.words = new Int32Array(4 * this.slots)
  }

  get bytes(): number {
    return this.room === 0 ? 0 : this.slots * SLOT_BYTES
  }

  /** The mark of a key, or 0. */
  markOf(first: number, second: number, third: number): number {
    const slot = this.find(first, second, third)
    return slot < 0 ? 0 : (this.words[4 * slot + 3] as number)
  }

  /** Puts a key that is not there into a table that has room. */
  put(first: number, second: number, third: number, mark: number): void {
    const { tags, words, slots } = this
    let slot = this.home(second)
    while (tags[slot] !== 0) if (++slot === slots) slot = 0
    tags[slot] = tagOf(third)
    const at = 4 * slot
    words[at] = first
    words[at + 1] = second
    words[at + 2] = third
    words[at + 3] = mark
  }

  /** Takes a key out when it has this mark, and closes the gap: keys behind it move up as far as their searches begin before it. */
  remove(first: number, second: number, third: number, mark: number): boolean {
    const { tags, words, slots } = this
    let gap = this.find(first, second, third)
    if (gap < 0 || words[4 * gap + 3] !== mark) return false
    for (let slot = (gap + 1) % slots; tags[slot] !== 0; slot = (slot + 1) % slots) {
      const home = this.home(words[4 * slot + 1] as number)
      if ((slot - home + slots) % slots < (slot - gap + slots) % slots) continue
      tags[gap] = tags[slot] as number
      words.copyWithin(4 * gap, 4 * slot, 4 * slot + 4)
      gap = slot
    }
    tags[gap] = 0
    return true
  }

  /** Reads what `markOf` and `put` will need first, for the sake of the processor's caches. */
  readAhead(second: number): number {
    const slot = this.home(second)
    return (this.tags[slot] as number) ^ (this.words[4 * slot] as number)
  }

  copyTo(target: Generation): void {
    const { tags, words } = this
    for (let slot = 0, at = 0; slot < tags.length; slot++, at += 4) {
      if (tags[slot] === 0) continue
      target.put(words[at] as number, words[at + 1] as number, words[at + 2] as number, words[at + 3] as number)
    }
  }

  clear(): void {
    this.tags.fill(0)
  }

  private find(first: number, second: number, third: number): number {
    const { tags, words, slots } = this
    const tag = tagOf(third)
    let slot = this.home(second)
    for (let found = tags[slot]; found !== 0; found = tags[slot]) {
      const at = 4 * slot
      if (found === tag && words[at] === first && words[at + 1] === second && words[at + 2] === third) return slot
      if (++slot === slots) slot = 0
    }
    return -1
  }

  /** Where a search begins. The 16 bits are a fraction of the table, which has less than 2^15 slots. */
  private home(second: number): number {
    return ((second >>> 16) * this.slots) >>> 16
  }
}

/** Adds to one of many counts; gives the sum. */
function increase(counts: Int32Array, index: number, by: number): number {
  const sum = (counts[index] as number) + by
  counts[index] = sum
  return sum
}

function tagOf(third: number): number {
  return (third & 0x7f) | 0x80
}

/** A generation without keys: looked into, never written to. */
const EMPTY = new Generation(0)

/** What an id table is made with. */
export interface IdTableOptions {
  /** Keys remembered at most. */
  readonly idsMax: number
  /** Age up to which a key is surely remembered, in ms. */
  readonly windowMs: number
}

/** The set of keys; see the head of the file. Times are those of a clock that never goes back, in ms. */
export class IdTable {
  private readonly windowMs: number
  private readonly shardMask: number
  private readonly generationKeys: number
  private readonly current: Generation[]
  private readonly previous: Generation[]
  private readonly currentKeys: Int32Array
  private readonly previousKeys: Int32Array
  private readonly startedAt: Float64Array
  private readonly rotateAt: Float64Array
  private now: number
  private sweepAt: number
  private forgottenUntil = Number.NEGATIVE_INFINITY
  /** What was read ahead is kept, or else it would not be read. */
  lastRead = 0
  /** Keys that are remembered. */
  keys = 0
  /** Memory of the tables. */
  bytes = 0

  /** @param now the time at the beginning */
  constructor({ idsMax, windowMs }: IdTableOptions, now: number) {
    assert(idsMax >= 2 && windowMs > 0)
    const shards = 2 ** Math.ceil(Math.log2(Math.max(1, idsMax / 2 / GENERATION_KEYS_MAX)))
    this.windowMs = windowMs
    this.shardMask = shards - 1
    this.generationKeys = Math.floor(idsMax / 2 / shards)
    this.current = new Array<Generation>(shards).fill(EMPTY)
    this.previous = new Array<Generation>(shards).fill(EMPTY)
    this.currentKeys = new Int32Array(shards)
    this.previousKeys = new Int32Array(shards)
    this.startedAt = new Float64Array(shards).fill(now)
    // The first rotation comes sooner, each at another time, so that the shards do not all rotate together for ever.
    this.rotateAt = Float64Array.from({ length: shards }, (_, shard) => now + (windowMs * (shard + 1)) / shards)
    this.now = now
    this.sweepAt = now + windowMs
  }

  /** How far back every key is remembered: `windowMs`, or less when more than `idsMax` keys came in that time. */
  get coveredMs(): number {
    return Math.min(this.windowMs, this.now - this.forgottenUntil)
  }

  /** Tells the time; before keys are added or looked for. */
  tick(now: number): void {
    this.now = now
    if (this.now < this.sweepAt) return
    this.sweepAt = this.now + this.windowMs
    for (let shard = 0; shard <= this.shardMask; shard++) this.rotateByAge(shard)
  }

  /**
   * Reads ahead what the following calls of `add` will need. A tenth of a microsecond of each key is waiting for memory, and here
   * the processor waits for many at once. Measured with a collector at full load: 0.12 µs less a key in batches of 100.
   * @param words of the keys, one behind the other, in the first `length` places
   */
  readAhead(words: Int32Array, length: number): void {
    let read = 0
    for (let at = 0; at < length; at += 3) {
      const shard = (words[at] as number) & this.shardMask
      const second = words[at + 1] as number
      read ^= (this.current[shard] as Generation).readAhead(second)
      read ^= (this.previous[shard] as Generation).readAhead(second)
    }
    this.lastRead = read
  }

  /** The mark of a key, given as its three words; 0 when it is not remembered. */
  markOf(first: number, second: number, third: number): number {
    const shard = first & this.shardMask
    this.rotateByAge(shard)
    const mark = (this.current[shard] as Generation).markOf(first, second, third)
    return mark !== 0 ? mark : (this.previous[shard] as Generation).markOf(first, second, third)
  }

  /** Adds a key with a mark that is not 0; gives 0, or the mark that the key has when it is there already: then nothing changes. */
  add(first: number, second: number, third: number, mark: number): number {
    const found = this.markOf(first, second, third)
    if (found !== 0) return found
    const shard = first & this.shardMask
    let keys = this.currentKeys[shard] as number
    if (keys >= (this.current[shard] as Generation).room || keys >= this.generationKeys) {
      this.makeRoom(shard)
      keys = this.currentKeys[shard] as number
    }
    ;(this.current[shard] as Generation).put(first, second, third, mark)
    this.currentKeys[shard] = keys + 1
    this.keys++
    return 0
  }

  /** Adds many keys, their words one behind the other: shard by shard, which is faster than one by one. */
  addAll(words: Int32Array, mark: number): void {
    const shards = this.shardMask + 1
    const ends = new Int32Array(shards)
    for (let at = 0; at < words.length; at += 3) increase(ends, (words[at] as number) & this.shardMask, 1)
    for (let shard = 1; shard < shards; shard++) increase(ends, shard, ends[shard - 1] as number)
    const sorted = new Int32Array(words.length)
    for (let at = words.length - 3; at >= 0; at -= 3) {
      const to = 3 * increase(ends, (words[at] as number) & this.shardMask, -1)
      sorted[to] = words[at] as number
      sorted[to + 1] = words[at + 1] as number
      sorted[to + 2] = words[at + 2] as number
    }
    for (let at = 0; at < sorted.length; at += 3) {
      this.add(sorted[at] as number, sorted[at + 1] as number, sorted[at + 2] as number, mark)
    }
  }

  /** Takes a key out again; nothing happens when it is not there, or has another mark. */
  remove(first: number, second: number, third: number, mark: number): void {
    const shard = first & this.shardMask
    const isInCurrent = (this.current[shard] as Generation).remove(first, second, third, mark)
    if (!isInCurrent && !(this.previous[shard] as Generation).remove(first, second, third, mark)) return
    increase(isInCurrent ? this.currentKeys : this.previousKeys, shard, -1)
    this.keys--
  }

  /** The current generation grows, or rotates when it is full. */
  private makeRoom(shard: number): void {
    if ((this.currentKeys[shard] as number) >= this.generationKeys) return this.rotate(shard, this.now)
    const current = this.current[shard] as Generation
    const keys = Math.max(SLOTS_MIN * FILL, Math.ceil(current.room * GROWTH))
    const grown = new Generation(Math.min(keys, this.generationKeys))
    current.copyTo(grown)
    this.bytes += grown.bytes - current.bytes
    this.current[shard] = grown
  }

  private rotateByAge(shard: number): void {
    const dueAt = this.rotateAt[shard] as number
    if (this.now < dueAt) return
    // Nothing was added since it was due: this is where the new generation began, however late it is made.
    if (this.now < dueAt + this.windowMs) this.rotate(shard, dueAt)
    else this.forgetAll(shard)
  }

  /** The previous generation is forgotten; the current one becomes the previous, and a new one of its size begins. */
  private rotate(shard: number, beginning: number): void {
    const ended = this.current[shard] as Generation
    const keys = this.currentKeys[shard] as number
    let next = this.previous[shard] as Generation
    this.keys -= this.previousKeys[shard] as number
    this.forgottenUntil = Math.max(this.forgottenUntil, this.startedAt[shard] as number)

    const slots = Math.max(SLOTS_MIN, Math.ceil(keys / FILL))
    if (keys > 0 && next.slots >= slots && next.slots <= slots * GROWTH) {
      next.clear() // its memory serves again
    } else {
      this.bytes -= next.bytes
      next = keys === 0 ? EMPTY : new Generation(keys)
      this.bytes += next.bytes
    }
    this.previous[shard] = ended
    this.previousKeys[shard] = keys
    this.current[shard] = next
    this.currentKeys[shard] = 0
    this.startedAt[shard] = beginning
    this.rotateAt[shard] = beginning + this.windowMs
  }

  private forgetAll(shard: number): void {
    this.keys -= (this.currentKeys[shard] as number) + (this.previousKeys[shard] as number)
    this.bytes -= (this.current[shard] as Generation).bytes + (this.previous[shard] as Generation).bytes
    this.current[shard] = EMPTY
    this.previous[shard] = EMPTY
    this.currentKeys[shard] = 0
    this.previousKeys[shard] = 0
    this.startedAt[shard] = this.now
    this.rotateAt[shard] = this.now + this.windowMs
    this.forgottenUntil = Math.max(this.forgottenUntil, this.now - this.windowMs)
  }
}
