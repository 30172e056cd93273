/** Real processes on a real file system: killed without warning, and two on one directory. */
import { afterAll, expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { WriteAheadLog } from '../../src/log/write-ahead-log.ts'
import { logOptions, temporaryDirectory } from './support.ts'

const SCRIPT = join(import.meta.dir, 'commit-loop.ts')
const KILLS = 25
const base = temporaryDirectory()

afterAll(() => rmSync(base, { recursive: true, force: true }))

function start(directory: string, run: string) {
  const files = [join(base, 'acknowledged'), join(base, 'inserts')]
  return Bun.spawn([process.execPath, SCRIPT, directory, run, ...files], { stdout: 'ignore', stderr: 'pipe' })
}

/** Lines of a file, without one that a kill left unfinished. */
function linesOf(name: string): string[] {
  const path = join(base, name)
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : []
}

test('kill -9 in the middle of commits and inserts loses nothing and doubles nothing', async () => {
  const directory = join(base, 'log')
  for (let kill = 0; kill < KILLS; kill += 1) {
    const before = linesOf('acknowledged').length
    const child = start(directory, `run${kill}`)
    while (linesOf('acknowledged').length < before + 20 && child.exitCode === null) await Bun.sleep(2)
    await Bun.sleep(Math.random() * 30)
    expect(child.exitCode).toBeNull()
    child.kill('SIGKILL')
    await child.exited
  }
  const drain = start(directory, 'drain')
  expect(await drain.exited).toBe(0)

  const contentOf = new Map<string, string>()
  const insertsOf = new Map<string, number>()
  for (const line of linesOf('inserts')) {
    // A kill in the middle of a line joins it with the next one; such an insert never happened.
    const text = line.slice(line.lastIndexOf('{"token"'))
    const { token, blocks } = JSON.parse(text) as { token: string; blocks: string[] }
    const content = blocks.join('\n')
    expect(contentOf.get(token) ?? content).toBe(content)
    if (!contentOf.has(token)) for (const block of blocks) insertsOf.set(block, (insertsOf.get(block) ?? 0) + 1)
    contentOf.set(token, content)
  }
  const acknowledged = linesOf('acknowledged')
  expect(acknowledged.length).toBeGreaterThan(KILLS * 20)
  expect(acknowledged.filter((block) => insertsOf.get(block) !== 1)).toEqual([])
  expect([...insertsOf.values()].every((count) => count === 1)).toBe(true)
  expect(readdirSync(directory).filter((name) => /open|sealed/.test(name))).toEqual([])
})

test('a second process on the directory is refused while the first lives, and not after kill -9', async () => {
  const directory = join(base, 'shared')
  const before = linesOf('acknowledged').length
  const first = start(directory, 'first')
  while (linesOf('acknowledged').length === before) await Bun.sleep(2)
  const second = start(directory, 'second')
  expect(await second.exited).not.toBe(0)
  expect(await new Response(second.stderr).text()).toContain('another collector uses the log directory')
  await expect(WriteAheadLog.open(logOptions(directory))).rejects.toThrow('another collector')
  first.kill('SIGKILL')
  await first.exited
  const log = await WriteAheadLog.open(logOptions(directory))
  await log.dispose()
})
