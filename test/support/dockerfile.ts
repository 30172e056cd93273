/**
 * Carries out a Dockerfile without Docker, as far as ours goes: every stage is a directory, COPY copies, and RUN runs, in the directory that
 * WORKDIR names. What FROM would bring is not there. What comes out is what the image holds beside its base, and how it is started.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { basename, isAbsolute, join } from 'node:path'

export interface Image {
  /** Its file system. */
  readonly root: string
  /** Of the base image, as FROM names it. */
  readonly base: string
  /** PATH of what runs in it without a base: of this machine, with the Bun that runs this. */
  readonly path: string
  readonly workingDirectory: string
  readonly environment: Readonly<Record<string, string>>
  readonly user: { readonly uid: number; readonly gid: number }
  readonly volume: string
  readonly entrypoint: readonly string[]
  readonly command: readonly string[]
  readonly healthcheck: readonly string[]
  readonly stopSignal: string
  /** What COPY took from the checkout, as the Dockerfile names it. */
  readonly sources: readonly string[]
}

interface Instruction {
  readonly name: string
  readonly flags: Readonly<Record<string, string>>
  readonly rest: string
}

/** The instructions, without comments, with continued lines in one. */
export function parseDockerfile(text: string): Instruction[] {
  const lines = text.replaceAll(/^\s*#.*\n/gm, '').replaceAll(/\\\n\s*/g, '')
  return [...lines.matchAll(/^([A-Z]+)[ \t]+(.+)$/gm)].map(([, name = '', whole = '']) => {
    const [given = ''] = /^(?:--\S+ +)*/.exec(whole) ?? []
    const flags = Object.fromEntries([...given.matchAll(/--([a-z-]+)=(\S+)/g)].map(([, flag, value]) => [flag, value]))
    return { name, flags, rest: whole.slice(given.length) }
  })
}

/**
 * Builds the last stage of a Dockerfile below `directory`.
 * @param context the directory that COPY copies from
 * Throws when an instruction fails, or is one that this does not know.
 */
export async function buildImage(context: string, directory: string): Promise<Image> {
  const sources: string[] = []
  const stages = new Map<string, string>()
  const path = pathWithBun(join(directory, 'bin'))
  let image = emptyImage('', '', path)
  for (const { name, flags, rest } of parseDockerfile(readFileSync(join(context, 'Dockerfile'), 'utf8'))) {
    const inside = (path: string) => join(image.root, isAbsolute(path) ? path : join(image.workingDirectory, path))
    const words = rest.trim().split(/\s+/)
    switch (name) {
      case 'FROM': {
        const [base = '', , stage = 'last'] = words
        image = emptyImage(join(directory, stage), base, path)
        stages.set(stage, image.root)
        break
      }
      case 'WORKDIR':
        image = { ...image, workingDirectory: rest }
        mkdirSync(inside('.'), { recursive: true })
        break
      case 'COPY': {
        const from = flags.from === undefined ? context : (stages.get(flags.from) ?? '')
        const target = words.at(-1) ?? ''
        for (const source of words.slice(0, -1)) copy(from, source, inside(target), target.endsWith('/'))
        if (flags.from === undefined) sources.push(...words.slice(0, -1))
        break
      }
      case 'RUN':
        run(['sh', '-c', rest], inside('.'), path)
        break
      case 'ENV':
        image = { ...image, environment: { ...image.environment, ...Object.fromEntries(pairs(rest)) } }
        break
      case 'USER': {
        const [uid, gid] = rest.split(':').map(Number)
        image = { ...image, user: { uid: uid ?? Number.NaN, gid: gid ?? Number.NaN } }
        break
      }
      case 'VOLUME':
        image = { ...image, volume: rest }
        break
      case 'STOPSIGNAL':
        image = { ...image, stopSignal: rest }
        break
      case 'ENTRYPOINT':
        image = { ...image, entrypoint: JSON.parse(rest) }
        break
      case 'CMD':
        image = { ...image, command: JSON.parse(rest) }
        break
      case 'HEALTHCHECK':
        image = { ...image, healthcheck: JSON.parse(rest.replace(/^CMD /, '')) }
        break
      case 'LABEL':
      case 'EXPOSE':
        break
      default:
        throw new Error(`what does ${name} do?`)
    }
  }
  return { ...image, sources }
}

function emptyImage(root: string, base: string, path: string): Image {
  const user = { uid: 0, gid: 0 }
  const start = { entrypoint: [], command: [], healthcheck: [], stopSignal: 'SIGTERM' }
  return { root, base, path, workingDirectory: '/', environment: {}, user, volume: '', ...start, sources: [] }
}

/** As COPY does: of a directory what is in it, into a directory that it makes. */
function copy(from: string, source: string, target: string, isIntoDirectory: boolean): void {
  const found = source.includes('*') ? [...new Bun.Glob(source).scanSync({ cwd: from, onlyFiles: true })] : [source]
  if (found.length === 0 || !existsSync(join(from, found[0] ?? ''))) throw new Error(`there is no ${source} to copy`)
  for (const path of found) {
    const isDirectory = statSync(join(from, path)).isDirectory()
    cpSync(join(from, path), !isDirectory && isIntoDirectory ? join(target, basename(path)) : target, {
      recursive: true,
      verbatimSymlinks: true,
    })
  }
}

function pathWithBun(directory: string): string {
  mkdirSync(directory, { recursive: true })
  symlinkSync(process.execPath, join(directory, 'bun'))
  return `${directory}:/usr/local/bin:/usr/bin:/bin`
}

function run(command: string[], cwd: string, path: string): void {
  const env = { ...process.env, PATH: path }
  const { exitCode, stderr } = Bun.spawnSync(command, { cwd, env, stdout: 'ignore', stderr: 'pipe' })
  if (exitCode !== 0) throw new Error(`${command.join(' ')} ended with ${exitCode}: ${stderr.toString()}`)
}

/** `NAME=value NAME="a value"` */
function pairs(text: string): [string, string][] {
  return [...text.matchAll(/(\w+)=(?:"([^"]*)"|(\S+))/g)].map(([, name = '', quoted, bare]) => [
    name,
    quoted ?? bare ?? '',
  ])
}
