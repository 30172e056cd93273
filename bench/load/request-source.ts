/** What the load generator in Bun sends: prebuilt requests, in turn, with the number of the pass where it belongs. As `replay.lua` does it. */
import { existsSync, readFileSync } from 'node:fs'

/** See the head of this file. */
export class RequestSource {
  private readonly requests: readonly Uint8Array[]
  /** Where the number of the pass is written, in each request; undefined: in none. */
  private readonly places: readonly (readonly number[])[] | undefined
  private readonly firstPass: number
  private readonly copyDistance: number
  /** Originals so far. */
  private sent = 0
  private wasOriginal = false

  /**
   * @param path of the requests, as `writeRequests` wrote them
   * @param copyDistance how many originals later the copy of a request is sent; 0: there are no copies
   */
  constructor(path: string, firstPass: number, copyDistance: number) {
    const bytes = readFileSync(path)
    let start = 0
    this.requests = readLines(`${path}.lengths`).map((length) => {
      start += Number(length)
      return bytes.subarray(start - Number(length), start)
    })
    if (existsSync(`${path}.places`))
      this.places = readLines(`${path}.places`).map((line) => line.split(' ').filter(Boolean).map(Number))
    this.firstPass = firstPass
    this.copyDistance = copyDistance
  }

  /** The request that is to be sent next. Not to be changed. */
  next(): Uint8Array {
    if (this.copyDistance > 0 && this.sent >= this.copyDistance) {
      this.wasOriginal = !this.wasOriginal
      if (!this.wasOriginal) return this.numbered(this.sent - 1 - this.copyDistance)
    }
    return this.numbered(this.sent++)
  }

  private numbered(number: number): Uint8Array {
    const index = number % this.requests.length
    const request = this.requests[index]
    if (request === undefined) throw new Error('there are no requests')
    const places = this.places?.[index]
    if (places === undefined || places.length === 0) return request
    // A copy: the one that was sent last may not be on its way as a whole.
    const copy = Buffer.from(request)
    const pass = this.firstPass + Math.floor(number / this.requests.length)
    const digits = pass.toString(16).padStart(8, '0')
    for (const place of places) copy.write(digits, place, 'latin1')
    return copy
  }
}

function readLines(path: string): string[] {
  return readFileSync(path, 'utf8').replace(/\n$/, '').split('\n')
}
