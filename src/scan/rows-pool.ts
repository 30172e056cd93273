/**
 * Rows in the scanner's memory, used again from request to request. That memory never becomes smaller and ends at 4 GiB, so what rows may
 * hold of it is bounded.
 */
import type { Address, ScannerExports } from './module.ts'

/** What rows of requests that are under way may hold, in bytes; beyond it requests are read the other way. */
const HELD_BYTES_MAX = 128 * 1024 * 1024
/** What rows that nobody holds may, in bytes; beyond it their memory is given back to the scanner. */
const FREE_BYTES_MAX = 32 * 1024 * 1024

/** Rows with what they hold, in bytes. */
export interface HeldRows {
  readonly address: Address
  readonly bytes: number
}

/** See the head of this file. */
export class RowsPool {
  private readonly exports: ScannerExports
  private readonly free: HeldRows[] = []
  private freeBytes = 0
  /** Requests that hold rows, and bytes of these. */
  heldRows = 0
  heldBytes = 0

  constructor(exports: ScannerExports) {
    this.exports = exports
  }

  get isFull(): boolean {
    return this.heldBytes >= HELD_BYTES_MAX
  }

  /** Rows to be filled; `hold` them then, or give them back. */
  take(): Address {
    const rows = this.free.pop()
    if (rows === undefined) return this.exports.newRows()
    this.freeBytes -= rows.bytes
    return rows.address
  }

  /** They are a request's until `release`. */
  hold(address: Address): HeldRows {
    const bytes = this.exports.memoryOf(address)
    this.heldRows++
    this.heldBytes += bytes
    return { address, bytes }
  }

  release(rows: HeldRows): void {
    this.heldRows--
    this.heldBytes -= rows.bytes
    this.keep(rows)
  }

  /** Rows that were taken and not held. */
  giveBack(address: Address): void {
    this.keep({ address, bytes: this.exports.memoryOf(address) })
  }

  private keep(rows: HeldRows): void {
    if (this.freeBytes + rows.bytes > FREE_BYTES_MAX) {
      this.exports.freeRows(rows.address)
      return
    }
    this.freeBytes += rows.bytes
    this.free.push(rows)
  }
}
