/** docker-compose.yml as Compose reads it: variables put in, anchors resolved. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dir, '../..')

/** What of a service tests look at. */
export interface ComposeService {
  readonly image: string
  readonly build?: string
  readonly environment?: Readonly<Record<string, string>>
  readonly command?: readonly string[]
  readonly ports?: readonly string[]
  readonly volumes?: readonly string[]
  readonly healthcheck?: { readonly test: readonly string[] }
  readonly restart?: string
  readonly stop_grace_period?: string
  readonly mem_limit?: string
  readonly read_only?: boolean
}

export interface ComposeFile {
  readonly services: Readonly<Record<string, ComposeService>>
  readonly volumes: Readonly<Record<string, unknown>>
}

/** The text of the file, without comments. */
export function composeText(): string {
  return readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8').replaceAll(/(^|\s)#.*$/gm, '')
}

/** The file with these variables. Throws when one is missing that it wants. */
export function readCompose(variables: Readonly<Record<string, string>>): ComposeFile {
  return substitute(Bun.YAML.parse(composeText()), variables) as ComposeFile
}

/** Puts variables into every text: after the file is parsed, as Compose does. */
function substitute(node: unknown, variables: Readonly<Record<string, string>>): unknown {
  if (Array.isArray(node)) return node.map((one) => substitute(one, variables))
  if (typeof node === 'object' && node !== null)
    return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, substitute(value, variables)]))
  if (typeof node !== 'string') return node
  return node.replaceAll(/\$\{(\w+)(:-|:\?)([^}]*)\}/g, (_, name: string, kind: string, rest: string) => {
    const value = variables[name] ?? ''
    if (value === '' && kind === ':?') throw new Error(`${name}: ${rest}`)
    return value === '' ? rest : value
  })
}

/** A file of variables, such as .env. */
export function readVariables(path: string): Record<string, string> {
  const lines = readFileSync(path, 'utf8').matchAll(/^([A-Z_]+)=(.*)$/gm)
  return Object.fromEntries([...lines].map(([, name = '', value = '']) => [name, value]))
}

/** Makes an .env as an operator does, in a directory of its own, and gives what is in it. */
export function makeVariables(directory: string): Record<string, string> {
  for (const name of ['Makefile', '.env.example']) {
    Bun.spawnSync(['cp', join(ROOT, name), directory])
  }
  const { exitCode, stderr } = Bun.spawnSync(['make', '.env'], { cwd: directory, stdout: 'ignore', stderr: 'pipe' })
  if (exitCode !== 0) throw new Error(`make .env: ${stderr.toString()}`)
  return readVariables(join(directory, '.env'))
}
