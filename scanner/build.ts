/**
 * Compiles the scanner: `build/scanner.wasm`, out of `scanner/assembly`. Does nothing when it was made of the same sources.
 *
 *     bun scanner/build.ts
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  BUILD,
  COMPILER_OPTIONS,
  MODULE_NAME,
  moduleStamp,
  SOURCES,
  STAMP_NAME,
  sourcesStamp,
} from '../src/scan/compiled.ts'

const stamp = sourcesStamp()
if (moduleStamp() !== stamp) {
  const { default: compiler } = await import('assemblyscript/asc')
  mkdirSync(BUILD, { recursive: true })
  // Another process may be doing the same.
  const made = join(BUILD, `scanner.${process.pid}.wasm`)
  const { error, stderr } = await compiler.main([join(SOURCES, 'main.ts'), '--outFile', made, ...COMPILER_OPTIONS])
  if (error !== null) throw new Error(`the scanner cannot be compiled:\n${stderr.toString()}`)
  renameSync(made, join(BUILD, MODULE_NAME))
  writeFileSync(`${made}.stamp`, stamp)
  renameSync(`${made}.stamp`, join(BUILD, STAMP_NAME))
}
