/**
 * Runs what an image holds as a container would: its directory is the root, read-only, `/tmp` and the volume beside it; the first process
 * of a process namespace of its own, without privileges. Linux's own tools do that; the network is this machine's. Base system and Bun
 * are this machine's too. Where namespaces are not allowed it runs in the directory of the image, as who runs the tests.
 */
import { spawnSync } from 'node:child_process'
import { chownSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Image } from './dockerfile.ts'

/** $1 root, $2 volume, $3 its place, $4 uid:gid, $5 working directory, $6 bun, then the command. */
const ENTER = `set -e
root=$1 volume=$2 place=$3 user=$4 cd=$5 bun=$6; shift 6
mount --bind "$root" "$root"
for name in usr bin lib lib64 etc dev; do
  [ -e "/$name" ] || continue
  mkdir -p "$root/$name"; mount --rbind "/$name" "$root/$name"
done
mkdir -p "$root/proc" "$root/tmp" "$root/run/bun"; touch "$root/run/bun/bun"
mount --bind "$bun" "$root/run/bun/bun"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --bind "$volume" "$root$place"
mount -o remount,bind,ro "$root"
exec chroot --userspec="$user" --groups= "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$cd" "$@"`

const NAMESPACES = ['setpriv', '--pdeathsig', 'KILL', 'unshare', '--mount', '--pid', '--fork', '--kill-child']

/** Whether this machine lets us make namespaces. */
export const hasNamespaces = spawnSync('unshare', ['--mount', '--pid', '--fork', 'true']).status === 0

export interface Container {
  readonly output: Promise<{ readonly exitCode: number; readonly stdout: string; readonly stderr: string }>
  /** The signal that the image names, and its end. */
  stop(): Promise<number>
  /** Whether it has number 1 where it is. */
  isFirstProcess(): boolean
  /** As the process has it now. */
  environment(): Readonly<Record<string, string>>
}

/** A directory that a new volume of the image is. */
export function newVolume(image: Image, directory: string): string {
  mkdirSync(directory, { recursive: true })
  if (hasNamespaces) chownSync(directory, image.user.uid, image.user.gid)
  return directory
}

/**
 * Starts a container of the image.
 * @param volume what lies at the place of the image's volume
 * @param environment beside that of the image
 * @param command instead of the image's entrypoint and command
 */
export function startContainer(
  image: Image,
  volume: string,
  environment: Readonly<Record<string, string>>,
  command: readonly string[] = [...image.entrypoint, ...image.command],
): Container {
  const { uid, gid } = image.user
  const enter = ['sh', '-c', ENTER, 'sh', image.root, volume, image.volume, `${uid}:${gid}`, image.workingDirectory]
  const child = hasNamespaces
    ? Bun.spawn([...NAMESPACES, ...enter, process.execPath, ...command], {
        env: { ...image.environment, ...environment, PATH: '/run/bun:/usr/sbin:/usr/bin:/sbin:/bin' },
        stdout: 'pipe',
        stderr: 'pipe',
      })
    : Bun.spawn(['env', ...command], {
        cwd: join(image.root, image.workingDirectory),
        env: { ...image.environment, DATA_DIR: volume, ...environment, PATH: image.path },
        stdout: 'pipe',
        stderr: 'pipe',
      })
  const output = Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited])
  const inner = () => (hasNamespaces ? childOf(child.pid) : child.pid)
  return {
    output: output.then(([stdout, stderr, exitCode]) => ({ stdout, stderr, exitCode })),
    isFirstProcess: () => /^NSpid:.*\t1$/m.test(readFileSync(`/proc/${inner()}/status`, 'utf8')),
    environment() {
      const lines = readFileSync(`/proc/${inner()}/environ`, 'utf8').split('\0')
      return Object.fromEntries(lines.map((line) => [line.split('=', 1)[0] ?? '', line.slice(line.indexOf('=') + 1)]))
    },
    async stop() {
      if (child.exitCode === null) process.kill(inner(), image.stopSignal)
      return child.exited
    },
  }
}

/** The only child of a process. */
function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim())
}
