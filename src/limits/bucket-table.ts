/**
 * The buckets of many keys, bounded. Only keys that exist come here, so there are seldom more than fit; if there are, buckets that are
 * full go first, which loses nothing, then the one that was made first: its key begins anew with a full one.
 */

/** See the head of this file. `Entry` is a bucket, or has one. */
export class BucketTable<Entry> {
  readonly #entries = new Map<string, Entry>()
  readonly #entriesMax: number
  readonly #isNothing: (entry: Entry) => boolean
  #addedSinceClean = 0

  /** @param isNothing whether an entry says no more than none would */
  constructor(entriesMax: number, isNothing: (entry: Entry) => boolean) {
    this.#entriesMax = entriesMax
    this.#isNothing = isNothing
  }

  get size(): number {
    return this.#entries.size
  }

  get(id: string): Entry | undefined {
    return this.#entries.get(id)
  }

  add(id: string, entry: Entry): void {
    // To look through all of them is worth it now and then only, not for every new one.
    if (this.#entries.size >= this.#entriesMax && this.#addedSinceClean >= this.#entriesMax / 10) this.clean()
    const oldest = this.#entries.keys().next()
    if (this.#entries.size >= this.#entriesMax && !oldest.done) this.#entries.delete(oldest.value)
    this.#entries.set(id, entry)
    this.#addedSinceClean++
  }

  /** Lets go of what is nothing. */
  clean(): void {
    for (const [id, entry] of this.#entries) if (this.#isNothing(entry)) this.#entries.delete(id)
    this.#addedSinceClean = 0
  }

  values(): IterableIterator<Entry> {
    return this.#entries.values()
  }
}
