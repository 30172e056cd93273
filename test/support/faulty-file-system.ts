/**
 * A disk in memory that keeps apart what is written and what is synced. A power cut drops any part of what is not synced:
 * whole writes, parts of them, creations, renames, removals. Operations can be made to fail, before or after their effect.
 */
import { dirname } from 'node:path'
import type { FileEntry, FileSystem, LogFile } from '../../src/log/file-system.ts'
import { randomFrom } from './random.ts'

type FileChange = { readonly position: number; readonly bytes: Buffer } | { readonly length: number }
type EntryChange = { readonly path: string; readonly node: Node | undefined; readonly from?: string }

class Node {
  /** What a read sees. */
  visible: Buffer = Buffer.alloc(0)
  /** What a power cut leaves for sure. */
  synced: Buffer = Buffer.alloc(0)
  changes: FileChange[] = []
}

/** An operation that the disk can fail at. */
export type Operation =
  | 'list'
  | 'open'
  | 'create'
  | 'write'
  | 'read'
  | 'sync'
  | 'truncate'
  | 'rename'
  | 'remove'
  | 'syncDirectory'

/** How an operation ends instead of working. */
export interface Fault {
  readonly code: 'EIO' | 'ENOSPC' | 'crash'
  /** The error comes although the operation did its work, or part of it. */
  readonly isLate?: boolean
}

export class FaultyDisk {
  /** Bytes that fit on the disk. */
  capacityBytes = Number.POSITIVE_INFINITY
  /** Asked before each operation; a fault makes it fail. */
  onOperation: (operation: Operation, path: string) => Fault | undefined = () => undefined
  /** Failed cuts: after these, refused bytes may be on the disk. */
  failedTruncates = 0
  readonly #random: () => number
  readonly #directories = new Set<string>()
  #entries = new Map<string, Node>()
  #syncedEntries = new Map<string, Node>()
  #entryChanges: EntryChange[] = []
  #mount = 0
  #onCrash: () => void = () => undefined

  constructor(seed = 1) {
    this.#random = randomFrom(seed)
  }

  /** The names in a directory, as a process sees them. */
  names(directory: string): string[] {
    const names: string[] = []
    for (const path of this.#entries.keys()) {
      if (path.startsWith(`${directory}/`) && !path.slice(directory.length + 1).includes('/')) {
        names.push(path.slice(directory.length + 1))
      }
    }
    return names.sort()
  }

  /** True when a power cut surely leaves the file under this name. */
  isNameSynced(path: string): boolean {
    return this.#syncedEntries.has(path)
  }

  /** A file's bytes; undefined when there is no such file. */
  contentOf(path: string): Buffer | undefined {
    const node = this.#entries.get(path)
    return node && Buffer.from(node.visible)
  }

  /** Puts bytes into a file, synced. */
  put(path: string, bytes: Uint8Array): void {
    const node = new Node()
    node.visible = Buffer.from(bytes)
    node.synced = Buffer.from(bytes)
    this.#entries.set(path, node)
    this.#syncedEntries.set(path, node)
  }

  /** Changes one bit of a file. */
  flipBit(path: string, offset: number, bit = 0): void {
    const bytes = this.contentOf(path)
    if (bytes === undefined) throw new Error(`no file ${path}`)
    bytes.writeUInt8(bytes.readUInt8(offset) ^ (1 << bit), offset)
    this.put(path, bytes)
  }

  /** The process ends: nothing that it started goes on, but all that it wrote is seen by the next one. */
  kill(): void {
    this.#mount += 1
    this.#onCrash()
  }

  /** The machine loses power: any part of what was not synced is lost. */
  cutPower(): void {
    this.kill()
    const entries = new Map(this.#syncedEntries)
    for (const change of this.#entryChanges) if (this.#random() < 0.5) applyEntry(entries, change)
    this.#entryChanges = []
    this.#entries = entries
    this.#syncedEntries = new Map(entries)
    for (const node of new Set(entries.values())) {
      let bytes = node.synced
      for (const change of node.changes) bytes = this.#applyInPart(bytes, change)
      node.changes = []
      node.synced = bytes
      node.visible = Buffer.from(bytes)
    }
  }

  #applyInPart(bytes: Buffer, change: FileChange): Buffer {
    const luck = this.#random()
    if (luck < 0.3) return bytes
    if ('length' in change || luck < 0.6) return applyChange(bytes, change)
    const from = Math.floor(this.#random() * change.bytes.byteLength * 0.7)
    const part = change.bytes.subarray(luck < 0.8 ? 0 : from, Math.ceil(change.bytes.byteLength * this.#random()))
    if (part.byteLength === 0) return bytes
    return applyChange(bytes, { position: change.position + (luck < 0.8 ? 0 : from), bytes: part })
  }

  /** The file system as one process sees it, until `kill` or `cutPower`; `crashed` resolves at that moment. */
  mount(): { fileSystem: FileSystem; crashed: Promise<'crashed'> } {
    const mount = ++this.#mount
    const crashed = new Promise<'crashed'>((resolve) => {
      this.#onCrash = () => resolve('crashed')
    })
    const run = <T>(
      operation: Operation,
      path: string,
      work: () => T,
      onLate: (fault: Fault) => void = work,
    ): Promise<T> => this.#run(mount, operation, path, work, onLate)
    const fileSystem: FileSystem = {
      makeDirectory: async (path) => void this.#directories.add(path),
      list: (path) => run('list', path, () => this.#list(path)),
      open: (path, mode) =>
        run(mode === 'create' ? 'create' : 'open', path, () => this.#file(mount, path, this.#open(path, mode))),
      rename: (from, to) =>
        run('rename', from, () => {
          const node = this.#entries.get(from)
          if (node === undefined) throw failure('ENOENT', from)
          this.#changeEntry({ path: to, node, from })
        }),
      remove: (path) =>
        run('remove', path, () => {
          if (!this.#entries.has(path)) throw failure('ENOENT', path)
          this.#changeEntry({ path, node: undefined })
        }),
      syncDirectory: (path) =>
        run('syncDirectory', path, () => {
          const isHere = ({ path: to, from }: EntryChange) => dirname(to) === path || dirname(from ?? to) === path
          for (const change of this.#entryChanges) if (isHere(change)) applyEntry(this.#syncedEntries, change)
          this.#entryChanges = this.#entryChanges.filter((change) => !isHere(change))
        }),
    }
    return { fileSystem, crashed }
  }

  async #run<T>(
    mount: number,
    operation: Operation,
    path: string,
    work: () => T,
    onLate: (fault: Fault) => void,
  ): Promise<T> {
    await Promise.resolve()
    if (mount !== this.#mount) return await new Promise(() => undefined)
    const fault = this.onOperation(operation, path)
    if (fault === undefined && mount === this.#mount) return work()
    if (fault?.isLate) onLate(fault)
    if (fault?.code === 'crash') this.kill()
    if (mount !== this.#mount) return await new Promise(() => undefined)
    if (operation === 'truncate') this.failedTruncates += 1
    throw failure(fault?.code ?? 'EIO', path)
  }

  #list(directory: string): FileEntry[] {
    const entries: FileEntry[] = this.names(directory).map((name) => ({
      name,
      isFile: true,
      bytes: this.#entries.get(`${directory}/${name}`)?.visible.byteLength ?? 0,
      modifiedAt: 0,
    }))
    for (const path of this.#directories) {
      if (path.startsWith(`${directory}/`)) {
        entries.push({ name: path.slice(directory.length + 1), isFile: false, bytes: 0, modifiedAt: 0 })
      }
    }
    return entries
  }

  #open(path: string, mode: 'create' | 'update' | 'read'): Node {
    const node = this.#entries.get(path)
    if (mode !== 'create') {
      if (node === undefined) throw failure('ENOENT', path)
      return node
    }
    if (node !== undefined) throw failure('EEXIST', path)
    const created = new Node()
    this.#changeEntry({ path, node: created })
    return created
  }

  #changeEntry(change: EntryChange): void {
    applyEntry(this.#entries, change)
    this.#entryChanges.push(change)
  }

  #usedBytes(): number {
    let bytes = 0
    for (const node of this.#entries.values()) bytes += node.visible.byteLength
    return bytes
  }

  #file(mount: number, path: string, node: Node): LogFile {
    const change = (change: FileChange) => {
      node.visible = applyChange(node.visible, change)
      node.changes.push(change)
    }
    const sync = () => {
      for (const change of node.changes) node.synced = applyChange(node.synced, change)
      node.changes = []
    }
    /**
     * A failed sync brings some changes to disk, and forgets some: they are still seen, but no later sync writes them.
     * That happens to data; a change of the size is in the file system's journal, and stays in order with what follows.
     */
    const syncBadly = () => {
      const left: FileChange[] = []
      for (const change of node.changes) {
        const luck = this.#random()
        const isHeld = left.some((earlier) => 'length' in earlier)
        if (luck < 0.3 && !isHeld) node.synced = applyChange(node.synced, change)
        else if (luck < 0.6 || isHeld || 'length' in change) left.push(change)
      }
      node.changes = left
    }
    return {
      write: (source, start, length, position) => {
        if (mount !== this.#mount) throw failure('EIO', path)
        const fault = this.onOperation('write', path)
        const growth = Math.max(0, position + length - node.visible.byteLength)
        const missing = Math.min(growth, Math.max(0, this.#usedBytes() + growth - this.capacityBytes))
        let count = Math.max(0, length - missing)
        if (fault !== undefined) count = fault.isLate ? Math.ceil(count * this.#random()) : 0
        if (count > 0) change({ position, bytes: Buffer.from(source.subarray(start, start + count)) })
        if (fault?.code === 'crash') this.kill()
        if (fault !== undefined) throw failure(fault.code, path)
        if (count === 0) throw failure('ENOSPC', path)
        return count
      },
      read: (target, position) =>
        this.#run(
          mount,
          'read',
          path,
          () => node.visible.copy(target, 0, position),
          () => undefined,
        ),
      sync: () => this.#run(mount, 'sync', path, sync, (fault) => (fault.code === 'crash' ? undefined : syncBadly())),
      truncate: (length) =>
        this.#run(
          mount,
          'truncate',
          path,
          () => {
            change({ length })
            sync()
          },
          (fault) => {
            change({ length })
            if (fault.code !== 'crash') syncBadly()
          },
        ),
      size: async () => node.visible.byteLength,
      close: async () => undefined,
    }
  }
}

function failure(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path}`), { code })
}

function applyChange(bytes: Buffer, change: FileChange): Buffer {
  if ('length' in change) {
    const cut = Buffer.alloc(change.length)
    bytes.copy(cut)
    return cut
  }
  const grown = Buffer.alloc(Math.max(bytes.byteLength, change.position + change.bytes.byteLength))
  bytes.copy(grown)
  change.bytes.copy(grown, change.position)
  return grown
}

function applyEntry(entries: Map<string, Node>, { path, node, from }: EntryChange): void {
  if (from !== undefined && entries.get(from) !== node) return
  if (from !== undefined) entries.delete(from)
  if (node === undefined) entries.delete(path)
  else entries.set(path, node)
}
