/** A Native block of events that were scanned, gathered in the scanner's memory. */
import { COLUMN_HEADERS } from '../native/event-block.ts'
import type { Address, ScannerModule } from './module.ts'

/** What a block of scanned events does; NO_SCANNED_BLOCK where there is no scanner. */
export interface ScannedBlock {
  readonly rows: number
  /** Exact size of what `writeTo` writes, in bytes. */
  readonly byteLength: number
  /** Writes the block at `offset`. */
  writeTo(target: Uint8Array, offset: number): void
  clear(): void
}

export const NO_SCANNED_BLOCK: ScannedBlock = Object.freeze({
  rows: 0,
  byteLength: 0,
  writeTo: () => undefined,
  clear: () => undefined,
})

/** A block of the scanner. */
export class ModuleBlock implements ScannedBlock {
  readonly address: Address
  private readonly module: ScannerModule

  constructor(module: ScannerModule) {
    this.module = module
    this.address = module.exports.newBlock()
    for (const [column, header] of COLUMN_HEADERS.entries()) {
      const at = module.exports.headerOf(this.address, column, header.length)
      module.memory.set(header, at)
    }
  }

  get rows(): number {
    return this.module.exports.rowsOf(this.address)
  }

  get byteLength(): number {
    return this.module.exports.bytesOf(this.address)
  }

  writeTo(target: Uint8Array, offset: number): void {
    const at = this.module.exports.writeBlock(this.address)
    target.set(this.module.memory.subarray(at, at + this.byteLength), offset)
  }

  clear(): void {
    this.module.exports.clearBlock(this.address)
  }
}
