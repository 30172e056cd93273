/** The unit for systemd: that systemd understands it, and that it says what docs/operations.md says. */
import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadConfig } from '../../src/config.ts'
import { isProblem } from '../../src/problem.ts'
import { parseDockerfile } from '../support/dockerfile.ts'
import { installPackage } from '../support/packages.ts'

const ROOT = join(import.meta.dir, '../..')
const unit = readFileSync(join(ROOT, 'deploy/systemd/penstock.service'), 'utf8')
const directory = mkdtempSync(join(tmpdir(), 'penstock-test-systemd-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

function setting(name: string): string | undefined {
  return new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1]
}

test('systemd has nothing to say against it', () => {
  installPackage('/usr/bin/systemd-analyze', 'systemd')
  const file = join(directory, 'penstock.service')
  writeFileSync(file, unit.replace('/usr/local/bin/bun', '/bin/true')) // Bun need not be there
  const { exitCode, stdout, stderr } = Bun.spawnSync(['systemd-analyze', 'verify', file])
  expect({ exitCode, said: stdout.toString() + stderr.toString() }).toEqual({ exitCode: 0, said: '' })
})

test('it starts what the image starts', () => {
  const started = parseDockerfile(readFileSync(join(ROOT, 'Dockerfile'), 'utf8'))
    .filter(({ name }) => name === 'ENTRYPOINT' || name === 'CMD')
    .flatMap(({ rest }) => JSON.parse(rest) as string[])
  expect(setting('ExecStart')).toBe(`/usr/local/bin/${started.join(' ')}`)
})

test('it signals the first process only, gives it the time that it may take, and starts it again within a minute', () => {
  const config = loadConfig({})
  if (isProblem(config)) throw new Error(config.message)
  const stopMs = Number.parseInt(setting('TimeoutStopSec') ?? '', 10) * 1000
  expect({ killMode: setting('KillMode'), restart: setting('Restart') }).toEqual({
    killMode: 'mixed',
    restart: 'always',
  })
  expect(stopMs).toBeGreaterThan(config.shutdownDeadlineMs + 10_000)
  expect(Number.parseInt(setting('RestartSec') ?? '', 10)).toBeLessThan(30)
})
