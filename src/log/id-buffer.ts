/** Bytes of the key of an event id, as the log keeps it: three words of 32 bits, little endian. */
export const ID_BYTES = 12

/** Keys of event ids, gathered one behind the other in memory that grows and is kept. */
export class IdBuffer {
  private words = new Int32Array(0)
  private length = 0

  /** Appends keys given as words. */
  appendWords(words: readonly number[]): void {
    this.ensure(words.length)
    const { words: target, length } = this
    for (let index = 0; index < words.length; index++) target[length + index] = words[index] as number
    this.length += words.length
  }

  /** Appends keys given as bytes. */
  append(bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return
    this.ensure(bytes.byteLength / 4)
    new Uint8Array(this.words.buffer, 4 * this.length).set(bytes)
    this.length += bytes.byteLength / 4
  }

  /** All keys, until the next call. */
  get bytes(): Uint8Array {
    return new Uint8Array(this.words.buffer, 0, 4 * this.length)
  }

  clear(): void {
    this.length = 0
  }

  private ensure(more: number): void {
    const needed = this.length + more
    if (needed <= this.words.length) return
    const grown = new Int32Array(Math.max(needed, 2 * this.words.length, 48))
    grown.set(this.words.subarray(0, this.length))
    this.words = grown
  }
}
