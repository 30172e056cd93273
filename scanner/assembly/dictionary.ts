/**
 * The different texts of a LowCardinality column. A text is an entry from when it is met first until all are forgotten, so an event holds
 * the entry, and an entry knows its index in the dictionary of the block that is being gathered.
 */
import { Arena, copy, hash, isEqual } from './bytes'

/** Fewer than an index of 16 bits can tell. */
const ENTRIES_MAX: u32 = 60_000
const TEXT_BYTES_MAX: u32 = 4 * 1024 * 1024
/** More entries or bytes than are worth keeping from block to block. */
const KEPT_ENTRIES_MAX: u32 = 4096
const KEPT_BYTES_MAX: u32 = 512 * 1024
const SLOTS_MIN: u32 = 256

@unmanaged
export class Entry {
  text: usize = 0
  length: u32 = 0
  hash: u32 = 0
  /** The block for which the index holds. */
  block: u32 = 0
  index: u32 = 0
  /** Of a User-Agent: what it says, once somebody has asked. */
  browser: Entry | null = null
  os: Entry | null = null
  device: Entry | null = null
}

@unmanaged
export class Dictionary {
  private arena: Arena = new Arena()
  private slots: usize = 0
  private capacity: u32 = 0
  private entries: u32 = 0
  /** The empty text: index 0 in every dictionary. */
  empty: Entry = new Entry()
  private last: Entry = this.empty

  constructor() {
    this.forget()
  }

  /** The entry of a text; null when there is no room for a new one. */
  find(text: usize, length: u32): Entry | null {
    if (length === 0) return this.empty
    const last = this.last
    if (last.length === length && isEqual(last.text, text, length)) return last
    const found = this.search(text, length)
    if (found !== null) this.last = found
    return found
  }

  private search(text: usize, length: u32): Entry | null {
    const textHash = hash(text, length, 0)
    let slot = textHash & (this.capacity - 1)
    while (true) {
      const found = load<usize>(this.slots + (slot << 2))
      if (found === 0) break
      const entry = changetype<Entry>(found)
      if (entry.hash === textHash && entry.length === length && isEqual(entry.text, text, length)) return entry
      slot = (slot + 1) & (this.capacity - 1)
    }
    if (this.entries >= ENTRIES_MAX || this.arena.bytes > TEXT_BYTES_MAX) return null
    const entry = changetype<Entry>(this.arena.take(<u32>offsetof<Entry>()))
    entry.text = this.arena.take(length)
    copy(entry.text, text, length)
    entry.length = length
    entry.hash = textHash
    store<usize>(this.slots + (slot << 2), changetype<usize>(entry))
    if (++this.entries * 2 > this.capacity) this.grow()
    return entry
  }

  private grow(): void {
    const slots = this.slots
    const capacity = this.capacity
    this.allocate(capacity * 2)
    for (let slot: u32 = 0; slot < capacity; slot++) {
      const found = load<usize>(slots + (slot << 2))
      if (found === 0) continue
      let to = changetype<Entry>(found).hash & (this.capacity - 1)
      while (load<usize>(this.slots + (to << 2)) !== 0) to = (to + 1) & (this.capacity - 1)
      store<usize>(this.slots + (to << 2), found)
    }
    heap.free(slots)
  }

  private allocate(capacity: u32): void {
    this.capacity = capacity
    this.slots = heap.alloc(capacity << 2)
    memory.fill(this.slots, 0, capacity << 2)
  }

  /** Whether it has become larger than is worth keeping. */
  isLarge(): bool {
    return this.entries > KEPT_ENTRIES_MAX || this.arena.bytes > KEPT_BYTES_MAX
  }

  /** Forgets all entries: nothing may hold one any more. */
  forget(): void {
    if (this.slots !== 0) heap.free(this.slots)
    this.allocate(SLOTS_MIN)
    this.arena.clear()
    this.entries = 0
    this.last = this.empty
  }
}

/** One for every LowCardinality column. */
export const tenants = new Dictionary()
export const workspaces = new Dictionary()
export const types = new Dictionary()
export const protocols = new Dictionary()
export const referrerHosts = new Dictionary()
export const locales = new Dictionary()
export const userAgents = new Dictionary()
export const browsers = new Dictionary()
export const systems = new Dictionary()
export const devices = new Dictionary()
export const schemaVersions = new Dictionary()
