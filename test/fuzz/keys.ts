/** The tenants and keys of a fuzzing run: good ones of all kinds, and every kind that must not open the door. */
import assert from 'node:assert/strict'
import type { KeyRequest } from '../../src/control/key-record.ts'
import { openControl } from '../../src/control/open-control.ts'
import { isProblem, type Problem } from '../../src/problem.ts'

export interface FuzzKey {
  readonly name: string
  readonly text: string
  /** `tenant/workspace` */
  readonly workspace: string
  readonly isPublic: boolean
  readonly mayIngest: boolean
  readonly mayRead: boolean
  /** Pages that may use it; undefined: all. */
  readonly origin?: string
  readonly signing: 'off' | 'optional' | 'required'
  readonly signingSecret: string
  /** Undefined: no limit. */
  readonly eventsPerMinute?: number
  /** It has limits of its own that a good body may exceed. */
  readonly isTight: boolean
}

/** Whatever comes in with its keys may or may not be stored: requests that nobody waits for use these. */
export const UNCERTAIN = 'fuzz-c/uncertain'

/** Of the key with a rate limit. */
export const LIMITED_EVENTS_PER_MINUTE = 120

/** Makes all keys of a collector that runs. */
export async function makeKeys(dataDir: string): Promise<readonly FuzzKey[]> {
  const control = good(await openControl({ dataDir }))
  const keys: FuzzKey[] = []
  for (const [tenant, workspace] of [
    ['fuzz-a', 'web'],
    ['fuzz-a', 'app'], // the same tenant
    ['fuzz-b', 'web'], // the same name of the workspace
    ['fuzz-c', 'uncertain'],
  ] as const) {
    const name = `${tenant}/${workspace}`
    const { signingSecret } = good(await control.provision({ tenant, workspace, tier: 'unlimited' }))
    const make = async (is: string, asked: Partial<KeyRequest>, known: Partial<FuzzKey> = {}) => {
      const request = { tenant, workspace, kind: 'secret', tier: 'unlimited', ...asked } as const
      const made = good(await control.createKey(request))
      keys.push({
        name: `${name} ${is}`,
        text: made.key,
        workspace: name,
        isPublic: request.kind === 'public',
        mayIngest: made.record.scopes.includes('ingest'),
        mayRead: made.record.scopes.includes('read'),
        signing: made.record.signing,
        signingSecret,
        isTight: false,
        ...known,
      })
      return made.record.id
    }
    await make('secret', {})
    await make('public', { kind: 'public' })
    if (name === UNCERTAIN) continue
    const none = { mayIngest: false, mayRead: false }
    await make(
      'for one origin',
      { kind: 'public', origins: 'https://shop.example' },
      { origin: 'https://shop.example' },
    )
    await make('reader', { scopes: 'read' })
    await make('ingest only', { scopes: 'ingest' })
    await make('signing', { signing: 'required' })
    await make('perhaps signing', { signing: 'optional', kind: 'public' })
    await make('tight', { batchEventsMax: '2', bodyBytesMax: '2KiB' }, { isTight: true })
    await make(
      'limited',
      { tier: `${LIMITED_EVENTS_PER_MINUTE}`, kind: 'public' },
      { eventsPerMinute: LIMITED_EVENTS_PER_MINUTE },
    )
    await make('expired', { expiresAt: new Date(Date.now() - 1000) }, none)
    good(await control.revokeKey(await make('revoked', { kind: 'public' }, none)))
  }
  await control.close()
  return keys
}

function good<Value>(value: Value | Problem): Value {
  assert(!isProblem(value), isProblem(value) ? value.message : '')
  return value as Value
}
