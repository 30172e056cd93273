/**
 * Compiles the scanner: `build/scanner.wasm`, out of `scanner/assembly`. Does nothing when it was made of the same sources.
 *
 *     bun scanner/build.ts
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const SOURCES = join(import.meta.dir, 'assembly')
const TARGET = join(import.meta.dir, '../build')
const MODULE = join(TARGET, 'scanner.wasm')
/** What the module was made of, beside it. */
const STAMP = join(TARGET, 'scanner.sha256')

/** `minimal`: the allocator without a garbage collector, since nothing here is garbage. Errors of the code end in a trap. */
const OPTIONS = ['-O3', '--runtime', 'minimal', '--enable', 'simd', '--noAssert']

/** Names the sources, the options and the compiler as they are now. */
export function sourcesStamp(): string {
  const hash = new Bun.CryptoHasher('sha256')
  const { devDependencies } = JSON.parse(readFileSync(join(import.meta.dir, '../package.json'), 'utf8'))
  hash.update(JSON.stringify([OPTIONS, devDependencies.assemblyscript]))
  for (const name of readdirSync(SOURCES).sort())
    if (name.endsWith('.ts')) hash.update(name).update(readFileSync(join(SOURCES, name)))
  return hash.digest('hex')
}

/** What the module was made of; empty when there is none. */
export function moduleStamp(): string {
  try {
    return readFileSync(STAMP, 'utf8')
  } catch {
    return ''
  }
}

/** Throws what the compiler says when the sources are not right. */
async function build(): Promise<void> {
  const stamp = sourcesStamp()
  if (moduleStamp() === stamp) return
  const { default: compiler } = await import('assemblyscript/asc')
  mkdirSync(TARGET, { recursive: true })
  // Another process may be doing the same.
  const made = join(TARGET, `scanner.${process.pid}.wasm`)
  const { error, stderr } = await compiler.main([join(SOURCES, 'main.ts'), '--outFile', made, ...OPTIONS])
  if (error !== null) throw new Error(`the scanner cannot be compiled:\n${stderr.toString()}`)
  renameSync(made, MODULE)
  writeFileSync(`${made}.stamp`, stamp)
  renameSync(`${made}.stamp`, STAMP)
}

if (import.meta.main) await build()
