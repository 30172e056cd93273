/** Where the figures come from. */
import { readFileSync, statfsSync } from 'node:fs'
import { cpus, loadavg, release, tmpdir, totalmem, type } from 'node:os'
import packageJson from '../../package.json'

export interface Machine {
  readonly date: string
  readonly cores: number
  readonly cpu: string
  readonly memoryGiB: number
  readonly kernel: string
  /** Of the directory that the logs and tables are in: on a memory file system, syncs cost nothing. */
  readonly fileSystem: string
  readonly bun: string
  readonly penstock: string
  /** Known when the first engine answers. */
  clickhouse: string
  /** Over the minute before: what else runs here. */
  readonly loadAverage: number
}

const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  61267: 'ext4',
  16914836: 'tmpfs',
  1481003842: 'xfs',
  2435016766: 'btrfs',
  2035054128: 'overlay',
}

export function describeMachine(): Machine {
  const [cpu] = cpus()
  const fileSystemType = statfsSync(tmpdir()).type
  return {
    date: new Date().toISOString(),
    cores: cpus().length,
    cpu: cpu?.model.trim() ?? 'unknown',
    memoryGiB: Math.round(totalmem() / 1024 ** 3),
    kernel: `${type()} ${release()}`,
    fileSystem: `${FILE_SYSTEMS[fileSystemType] ?? `type 0x${fileSystemType.toString(16)}`} (${tmpdir()})`,
    bun: Bun.version,
    penstock: packageJson.version,
    clickhouse: 'unknown',
    loadAverage: loadavg()[0] ?? 0,
  }
}

/** True where processes can be measured: figures come from /proc. */
export function hasProc(): boolean {
  try {
    return readFileSync('/proc/self/stat', 'utf8').length > 0
  } catch {
    return false
  }
}
