/** Programs that tests need and Debian has: installed when they are missing, by whoever needs them first. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Test files may run at the same time, apt-get may not. */
const LOCK = join(tmpdir(), 'penstock-test-packages.lock')

/**
 * Makes sure that a program is there.
 * @param program its path, or that of another file of the package
 * @param name of the Debian package
 * @throws Error with the command to run, when this process may not install or cannot
 */
export function installPackage(program: string, name: string): void {
  if (existsSync(program)) return
  // Its services stay off: at this run level none is started.
  const install = `RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq ${name}`
  const command = `apt-get update -qq && ${install}`
  if (process.getuid?.() !== 0) throw new Error(`${program} is missing: run as root: ${command}`)
  const { status, stderr } = spawnSync('flock', [LOCK, 'sh', '-c', `test -e ${program} || { ${command}; }`], {
    encoding: 'utf8',
  })
  if (status !== 0 || !existsSync(program))
    throw new Error(`${program} is missing, and this failed: ${command}\n${stderr}`)
}
