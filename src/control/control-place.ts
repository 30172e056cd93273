/** Where the control database is, for who does not open it. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** The file of the control database, unless it is in Postgres. */
export function controlPath(dataDir: string): string {
  return join(dataDir, 'control.sqlite')
}

/** Whether there is one already. Postgres is not asked. */
export function hasControl(config: { readonly controlDatabaseUrl?: string; readonly dataDir: string }): boolean {
  return config.controlDatabaseUrl !== undefined || existsSync(controlPath(config.dataDir))
}
