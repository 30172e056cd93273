/** Small files that are there as a whole or not at all, whatever fails in between. */
import { randomBytes } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { errorCode, realFileSystem } from '../log/file-system.ts'
import { writeAll } from '../log/set-aside.ts'

/** Ends the names of files that are being written; a crash may leave some. */
export const DRAFT_SUFFIX = '.draft'
/** Writing a small file takes no longer: a draft that was not written to for so long was left by a crash. */
const DRAFT_KEPT_MS = 60_000

/** Makes or replaces the file; contents and name are on disk when this resolves. Throws the file system's error. */
export async function writeDurably(directory: string, name: string, content: Uint8Array): Promise<void> {
  await realFileSystem.makeDirectory(directory)
  await realFileSystem.syncDirectory(dirname(directory))
  const draft = join(directory, `${name}.${randomBytes(6).toString('hex')}${DRAFT_SUFFIX}`)
  try {
    const file = await realFileSystem.open(draft, 'create')
    try {
      writeAll(file, content, 0, content.byteLength, 0)
      await file.sync()
    } finally {
      await file.close()
    }
    await realFileSystem.rename(draft, join(directory, name))
  } catch (error) {
    await realFileSystem.remove(draft).catch(() => {})
    throw error
  }
  await realFileSystem.syncDirectory(directory)
}

/** Removes the file, durably; false when there is none. Throws the file system's error. */
export async function removeDurably(directory: string, name: string): Promise<boolean> {
  try {
    await realFileSystem.remove(join(directory, name))
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false
    throw error
  }
  await realFileSystem.syncDirectory(directory)
  return true
}

/** Names of the files in the directory, sorted; none when there is no directory. */
export async function listNames(directory: string): Promise<string[]> {
  try {
    const entries = await realFileSystem.list(directory)
    return entries.flatMap((entry) => (entry.isFile ? [entry.name] : [])).sort()
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return []
    throw error
  }
}

/** Removes drafts that a crash left: those that nobody has written to for a minute. Throws the file system's error. */
export async function removeDrafts(directory: string): Promise<void> {
  for (const name of await listNames(directory)) {
    if (!name.endsWith(DRAFT_SUFFIX)) continue
    const status = await stat(join(directory, name)).catch((error: unknown) => {
      if (errorCode(error) === 'ENOENT') return undefined // it is no draft any more
      throw error
    })
    if (status !== undefined && Date.now() - status.mtimeMs > DRAFT_KEPT_MS) await removeDurably(directory, name)
  }
}
