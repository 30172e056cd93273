import { expect, test } from 'bun:test'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { hashKey } from '../../src/control/keys.ts'
import { openControl } from '../../src/control/open-control.ts'
import { codeOf, openTestControl, provisionAcme, temporaryDataDir } from './control-fixture.ts'

test('only the hash of a key is on disk, and no signing secret', async () => {
  const dataDir = temporaryDataDir()
  const made = await provisionAcme(await openTestControl({ dataDir }))
  const files = ['control.sqlite', 'control.sqlite-wal'].map((name) => readFileSync(join(dataDir, name), 'latin1'))
  for (const secret of [made.publicKey, made.secretKey, made.signingSecret]) {
    expect(files.join('')).not.toContain(secret)
  }
  expect(files.join('')).toContain(hashKey(made.publicKey))
})

test('the file is for its owner alone', async () => {
  const dataDir = temporaryDataDir()
  await openTestControl({ dataDir })
  expect(statSync(join(dataDir, 'control.sqlite')).mode & 0o777).toBe(0o600)
})

test('a directory that cannot be used is a problem that names the variable', async () => {
  const result = await openControl({ dataDir: '/dev/null/data' })
  expect(codeOf(result)).toBe('control_unavailable')
  expect(result).toMatchObject({ message: expect.stringContaining('DATA_DIR is "/dev/null/data"') })
})

test('a file that is no database is a problem', async () => {
  const dataDir = temporaryDataDir()
  await Bun.write(join(dataDir, 'control.sqlite'), 'not a database '.repeat(100))
  expect(codeOf(await openControl({ dataDir }))).toBe('control_unavailable')
})
