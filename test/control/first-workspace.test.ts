import { describe, expect, test } from 'bun:test'
import { rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { firstKeyPath, firstWorkspace, toProvisionedJson } from '../../src/control/first-workspace.ts'
import { hashKey } from '../../src/control/keys.ts'
import { codeOf, everyDatabase, good, type NewPlace, openTestControl } from './control-fixture.ts'

describe.each(await everyDatabase())('in %s', (_name, newPlace: NewPlace) => {
  test('the first start makes a workspace without rate limit and keeps its keys in a file for the owner alone', async () => {
    const home = await newPlace()
    const place = { ...home, dataDir: join(home.dataDir, 'not-yet') }
    const control = await openTestControl(place)
    const first = good(await firstWorkspace(control, place.dataDir))
    expect(first).toMatchObject({ tenantId: 'default', workspaceId: 'default' })
    expect(await control.findKeyByHash(hashKey(first?.secretKey ?? ''))).toMatchObject({ tier: 'unlimited' })
    const path = firstKeyPath(place.dataDir)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(await Bun.file(path).json()).toEqual(toProvisionedJson(first as NonNullable<typeof first>))
  })

  test('later starts give the same keys and make none', async () => {
    const place = await newPlace()
    const control = await openTestControl(place)
    const first = good(await firstWorkspace(control, place.dataDir))
    expect(good(await firstWorkspace(control, place.dataDir))).toEqual(first)
    expect(await control.listKeys()).toHaveLength(2)
  })

  test('keys that were revoked, or whose file is gone or damaged, are not shown', async () => {
    const place = await newPlace()
    const control = await openTestControl(place)
    const first = good(await firstWorkspace(control, place.dataDir))
    const path = firstKeyPath(place.dataDir)
    const text = await Bun.file(path).text()
    for (const damaged of ['', 'null', '{}', text.slice(0, 40)]) {
      writeFileSync(path, damaged)
      expect(await firstWorkspace(control, place.dataDir)).toBeUndefined()
    }
    rmSync(path)
    expect(await firstWorkspace(control, place.dataDir)).toBeUndefined()
    writeFileSync(path, text)
    expect(await firstWorkspace(control, place.dataDir)).toEqual(first)
    const key = await control.findKeyByHash(hashKey(first?.publicKey ?? ''))
    good(await control.revokeKey(key?.id ?? ''))
    expect(await firstWorkspace(control, place.dataDir)).toBeUndefined()
  })

  test('the keys of a control database that is gone are replaced', async () => {
    const place = await newPlace()
    writeFileSync(firstKeyPath(place.dataDir), '{"public_key":"pk_old"}')
    const control = await openTestControl(place)
    const first = good(await firstWorkspace(control, place.dataDir))
    expect(first).toBeDefined()
    expect(await firstWorkspace(control, place.dataDir)).toEqual(first)
  })

  test('where there is a workspace already none is made', async () => {
    const place = await newPlace()
    const control = await openTestControl(place)
    good(await control.provision({ tenant: 'acme', workspace: 'web' }))
    expect(await firstWorkspace(control, place.dataDir)).toBeUndefined()
    expect(await control.listWorkspaces()).toHaveLength(1)
  })

  test('a damaged key of the signing secrets is a problem, and nothing is made', async () => {
    const place = await newPlace()
    await Bun.write(`${place.dataDir}/secret.key`, 'no key')
    const control = await openTestControl(place)
    expect(codeOf(await firstWorkspace(control, place.dataDir))).toBe('secrets_key_unusable')
    expect(await control.listWorkspaces()).toEqual([])
  })
})
