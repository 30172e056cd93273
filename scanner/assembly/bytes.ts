/** Growing runs of bytes, and memory that is given out once and taken back all together. */

/** Vector instructions read and write whole vectors: so much memory behind the end of everything is ours, whatever is in it. */
export const SLACK: u32 = 64

/** What a run of bytes keeps when it is emptied. */
const KEPT_BYTES_MAX: u32 = 1024 * 1024

/** A run of bytes that grows at its end. */
@unmanaged
export class Bytes {
  /** Where the first byte is; moves when the run grows. */
  begin: usize = 0
  length: u32 = 0
  capacity: u32 = 0

  constructor(capacity: u32) {
    this.begin = heap.alloc(capacity + SLACK)
    this.capacity = capacity
  }

  /** Where the next byte goes. */
  get end(): usize {
    return this.begin + this.length
  }

  /** Makes room for `more` bytes. */
  @inline
  ensure(more: u32): void {
    if (this.length + more > this.capacity) this.grow(this.length + more)
  }

  private grow(needed: u32): void {
    // Where there is no more memory this ends here: the run is to be what it was.
    const capacity = max(needed, this.capacity * 2)
    this.begin = heap.realloc(this.begin, capacity + SLACK)
    this.capacity = capacity
  }

  /** Forgets what is in it, and gives back memory that is seldom needed. */
  clear(): void {
    this.length = 0
    if (this.capacity <= KEPT_BYTES_MAX) return
    heap.free(this.begin)
    this.begin = heap.alloc(KEPT_BYTES_MAX + SLACK)
    this.capacity = KEPT_BYTES_MAX
  }

  /** Gives all memory back; it is not to be used any more. */
  free(): void {
    heap.free(this.begin)
    heap.free(changetype<usize>(this))
  }

  /** Appends bytes. */
  append(from: usize, length: u32): void {
    this.ensure(length)
    copy(this.begin + this.length, from, length)
    this.length += length
  }

  appendAll(from: Bytes): void {
    this.append(from.begin, from.length)
  }

  /** Appends a text as ClickHouse's formats have it: varuint length, UTF-8. */
  appendText(from: usize, length: u32): void {
    this.ensure(length + 5)
    const at = writeVaruint(this.begin + this.length, length)
    copy(at, from, length)
    this.length = <u32>(at - this.begin) + length
  }

  appendByte(value: u32): void {
    this.ensure(1)
    store<u8>(this.begin + this.length, value)
    this.length++
  }

  appendVaruint(value: u32): void {
    this.ensure(5)
    this.length = <u32>(writeVaruint(this.begin + this.length, value) - this.begin)
  }

  appendInt64(value: u64): void {
    this.ensure(8)
    store<u64>(this.begin + this.length, value)
    this.length += 8
  }
}

/** Copies between places that do not overlap. Most texts are short: whole vectors are quicker than a call, and may go beyond the end. */
export function copy(to: usize, from: usize, length: u32): void {
  if (length > 256) {
    memory.copy(to, from, length)
    return
  }
  const end = from + length
  do {
    v128.store(to, v128.load(from))
    to += 16
    from += 16
  } while (from < end)
}

/** Writes an unsigned LEB128; gives the address behind it. */
export function writeVaruint(at: usize, value: u32): usize {
  while (value >= 0x80) {
    store<u8>(at++, value | 0x80)
    value >>= 7
  }
  store<u8>(at++, value)
  return at
}

/** Bytes that `writeVaruint` writes. */
export function varuintBytes(value: u32): u32 {
  let bytes: u32 = 1
  for (value >>= 7; value !== 0; value >>= 7) bytes++
  return bytes
}

/** Whether two runs of bytes are equal; vectors beyond their ends are compared, too, and do not count. */
export function isEqual(one: usize, other: usize, length: u32): bool {
  while (length >= 16) {
    if (i8x16.bitmask(i8x16.ne(v128.load(one), v128.load(other))) !== 0) return false
    one += 16
    other += 16
    length -= 16
  }
  const different = i8x16.bitmask(i8x16.ne(v128.load(one), v128.load(other)))
  return (different & ((1 << length) - 1)) === 0
}

/** Where the first of two bytes is from `at` on, or `end`. */
export function findEither(at: usize, end: usize, one: u32, other: u32): usize {
  for (; at < end; at += 16) {
    const bytes = v128.load(at)
    const found = i8x16.bitmask(v128.or(i8x16.eq(bytes, i8x16.splat(<i8>one)), i8x16.eq(bytes, i8x16.splat(<i8>other))))
    if (found !== 0) return min(end, at + ctz(found))
  }
  return end
}

/** Orders two runs of bytes as ClickHouse orders texts: below, above or equal to 0. */
export function compare(one: usize, oneLength: u32, other: usize, otherLength: u32): i32 {
  const common = min(oneLength, otherLength)
  for (let index: u32 = 0; index < common; index++) {
    const difference = <i32>load<u8>(one + index) - <i32>load<u8>(other + index)
    if (difference !== 0) return difference
  }
  return <i32>oneLength - <i32>otherLength
}

/** Secret of this process, so that nobody can choose texts that fall together. Odd. */
let secret: u64 = 1

export function setSecret(value: u64): void {
  secret = value | 1
}

/** Where a text is to be looked for in a table. `start` tells the tables apart. */
export function hash(at: usize, length: u32, start: u32): u32 {
  let sum: u64 = (start ^ length) * secret
  while (length > 8) {
    sum = (rotl(sum, 25) ^ load<u64>(at)) * secret
    at += 8
    length -= 8
  }
  const last = length === 8 ? load<u64>(at) : load<u64>(at) & (((<u64>1) << (length * 8)) - 1)
  sum = (rotl(sum, 25) ^ last) * secret
  sum = (sum ^ (sum >> 32)) * secret
  return <u32>(sum >> 32)
}

/** Chunks that memory is given out from. */
const CHUNK_BYTES: u32 = 64 * 1024

/** Memory for things that live until all are forgotten. */
@unmanaged
export class Arena {
  private chunk: usize = 0
  private used: u32 = 0
  /** Bytes of all chunks. */
  bytes: u32 = 0

  /** Memory whose address does not change, filled with zeros. */
  take(length: u32): usize {
    const needed = (length + 15) & ~15
    if (this.chunk === 0 || this.used + needed > CHUNK_BYTES) this.addChunk(needed)
    const at = this.chunk + this.used
    this.used += needed
    return at
  }

  /** A chunk begins with the address of the one before it, and its own length. */
  private addChunk(needed: u32): void {
    const length = max(CHUNK_BYTES, needed + 16)
    const chunk = heap.alloc(length + SLACK)
    memory.fill(chunk, 0, length)
    store<usize>(chunk, this.chunk)
    store<u32>(chunk, length, 8)
    this.chunk = chunk
    this.used = 16
    this.bytes += length
  }

  clear(): void {
    while (this.chunk !== 0) {
      const before = load<usize>(this.chunk)
      heap.free(this.chunk)
      this.chunk = before
    }
    this.used = 0
    this.bytes = 0
  }
}
