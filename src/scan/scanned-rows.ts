/** Events of one request that were scanned: rows in the scanner's memory, or some of them. */
import assert from 'node:assert/strict'
import type { Batch, OpenBlocks } from '../batch.ts'
import type { WorkspaceKeys } from '../dedupe/id-keys.ts'
import { UUID_BYTES } from '../native/uuid.ts'
import type { Address, ScannerModule } from './module.ts'
import type { HeldRows } from './rows-pool.ts'
import { ModuleBlock } from './scanned-block.ts'
import type { Scanner } from './scanner.ts'

/** All events of a request. Whoever has them calls `release` at the end. */
export class ScannedRows implements Batch {
  readonly length: number
  readonly tenantId: string
  readonly workspaceId: string
  readonly bytesMax: number
  private readonly scanner: Scanner
  private readonly module: ScannerModule
  private readonly rows: HeldRows
  private readonly areIdsGiven: Address
  private isPicked = false
  private isReleased = false

  /** `textBytes` are those of the body, and of what the request says of all events. */
  constructor(
    scanner: Scanner,
    module: ScannerModule,
    { rows, length, textBytes }: { readonly rows: HeldRows; readonly length: number; readonly textBytes: number },
    { tenantId, workspaceId }: Pick<Batch, 'tenantId' | 'workspaceId'>,
  ) {
    this.scanner = scanner
    this.module = module
    this.rows = rows
    this.length = length
    this.tenantId = tenantId
    this.workspaceId = workspaceId
    this.areIdsGiven = module.exports.areIdsGiven(rows.address)
    // Of texts that stand in a dictionary, and of hosts that were found in others, the rows have the places alone.
    this.bytesMax = rows.bytes + 2 * textBytes
  }

  /** What has rows is small enough: see `JSON_BYTES_MAX` in `scanner/assembly/main.ts`. */
  isWithin(bytesMax: number): boolean {
    return this.bytesMax <= bytesMax
  }

  get hasIds(): boolean {
    const { memory } = this.module
    return memory.subarray(this.areIdsGiven, this.areIdsGiven + this.length).includes(1)
  }

  hasId(index: number): boolean {
    return this.module.memory[this.areIdsGiven + index] !== 0
  }

  keyOf(index: number, keys: WorkspaceKeys): WorkspaceKeys {
    return keys.ofBytes(this.module.data, this.idAt(index))
  }

  writeId(index: number, target: Uint8Array, offset: number): void {
    const from = this.idAt(index)
    const { memory } = this.module
    for (let at = 0; at < UUID_BYTES; at++) target[offset + at] = memory[from + at] as number
  }

  private idAt(index: number): Address {
    assert(!this.isReleased)
    return this.module.exports.idsOf(this.rows.address) + UUID_BYTES * index
  }

  pick(indexes: readonly number[]): PickedRows {
    this.isPicked = true
    return new PickedRows(this, indexes)
  }

  appendTo({ scanned }: OpenBlocks): void {
    assert(!this.isReleased && scanned instanceof ModuleBlock)
    this.scanner.append(this.rows.address, scanned)
    if (!this.isPicked) this.release()
  }

  /** Puts those of the events into a block for which a byte of `wanted` is not 0. */
  appendPicked(wanted: Uint8Array, { scanned }: OpenBlocks): void {
    assert(!this.isReleased && scanned instanceof ModuleBlock)
    this.scanner.appendPicked(this.rows.address, wanted, scanned)
  }

  /** Gives the memory back; nothing when that was done. */
  release(): void {
    if (this.isReleased) return
    this.isReleased = true
    this.scanner.release(this.rows)
  }
}

/** Some events of a request, in its order. */
export class PickedRows implements Batch {
  private readonly all: ScannedRows
  private readonly indexes: readonly number[]

  constructor(all: ScannedRows, indexes: readonly number[]) {
    this.all = all
    this.indexes = indexes
  }

  get length(): number {
    return this.indexes.length
  }

  get tenantId(): string {
    return this.all.tenantId
  }

  get workspaceId(): string {
    return this.all.workspaceId
  }

  get bytesMax(): number {
    return this.all.bytesMax
  }

  isWithin(bytesMax: number): boolean {
    return this.all.isWithin(bytesMax)
  }

  get hasIds(): boolean {
    return this.indexes.some((index) => this.all.hasId(index))
  }

  hasId(index: number): boolean {
    return this.all.hasId(this.at(index))
  }

  keyOf(index: number, keys: WorkspaceKeys): WorkspaceKeys {
    return this.all.keyOf(this.at(index), keys)
  }

  writeId(index: number, target: Uint8Array, offset: number): void {
    this.all.writeId(this.at(index), target, offset)
  }

  pick(indexes: readonly number[]): PickedRows {
    return new PickedRows(
      this.all,
      indexes.map((index) => this.at(index)),
    )
  }

  appendTo(blocks: OpenBlocks): void {
    const wanted = new Uint8Array(this.all.length)
    for (const index of this.indexes) wanted[index] = 1
    this.all.appendPicked(wanted, blocks)
  }

  private at(index: number): number {
    return this.indexes[index] as number
  }
}
