/**
 * The compiled scanner: `build/scanner.wasm`, which `bun run build` makes out of `scanner/assembly`, and beside it a stamp that names what it was
 * made of. An older module than the sources is not used: it might read events in an older way.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Problem, problem } from '../problem.ts'

const ROOT = join(import.meta.dir, '../..')
/** The folder of what is compiled. */
export const BUILD = join(ROOT, 'build')
export const MODULE_NAME = 'scanner.wasm'
export const STAMP_NAME = 'scanner.sha256'
/** The folder of the sources. */
export const SOURCES = join(ROOT, 'scanner/assembly')

/** `minimal`: the allocator without a garbage collector, since nothing here is garbage. Errors of the code end in a trap. */
export const COMPILER_OPTIONS = ['-O3', '--runtime', 'minimal', '--enable', 'simd', '--noAssert'] as const

/** Names the sources, the compiler and its options as they are now, in 64 hexadecimal digits. Throws where there are no sources. */
export function sourcesStamp(): string {
  const hash = new Bun.CryptoHasher('sha256')
  const { devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  hash.update(JSON.stringify([COMPILER_OPTIONS, devDependencies.assemblyscript]))
  for (const name of readdirSync(SOURCES).sort())
    if (name.endsWith('.ts')) hash.update(name).update(readFileSync(join(SOURCES, name)))
  return hash.digest('hex')
}

/** What the module was made of; empty when there is none. */
export function moduleStamp(folder = BUILD): string {
  const areThere = [MODULE_NAME, STAMP_NAME].every((name) => existsSync(join(folder, name)))
  return areThere ? readFileSync(join(folder, STAMP_NAME), 'utf8') : ''
}

/** The module, or why there is none to be used. Where the sources are not, as in an image, it is theirs. */
export function compiledScanner(folder = BUILD): WebAssembly.Module | Problem<'scanner_unusable'> {
  const path = join(folder, MODULE_NAME)
  if (!existsSync(path)) return problem('scanner_unusable', 'it was not compiled (`bun run build`)')
  if (existsSync(SOURCES) && moduleStamp(folder) !== sourcesStamp())
    return problem('scanner_unusable', 'it was compiled of other sources than those that are here (`bun run build`)')
  const bytes = readFileSync(path)
  if (WebAssembly.validate(bytes)) return new WebAssembly.Module(bytes)
  return problem('scanner_unusable', 'the processor has no vector instructions that it could use')
}
