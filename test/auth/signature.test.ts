import { describe, expect, test } from 'bun:test'
import { createHmac } from 'node:crypto'
import { MemoryReplays, type Replays } from '../../src/auth/replays.ts'
import { verifySignature } from '../../src/auth/signature.ts'
import type { SigningMode } from '../../src/control/grants.ts'
import { isRejection } from '../../src/rejection.ts'

const NOW_SECONDS = 1_700_000_000
const SECRET = 'the secret'
const BODY = '{"events":[]}'

/** The definition, written down once more. */
function sign(timestamp: string | number, body: string | Uint8Array = BODY, secret = SECRET): string {
  const bytes = Buffer.concat([Buffer.from(`${timestamp}.`), Buffer.from(body)])
  return createHmac('sha256', secret).update(bytes).digest('hex')
}

interface Attempt {
  readonly signing?: SigningMode
  readonly headers?: Record<string, string>
  readonly body?: string | Uint8Array
  readonly isOnce?: boolean
  readonly replays?: Replays
  readonly workspaceId?: string
  readonly nowMs?: number
}

async function attempt({ headers = {}, body = BODY, ...more }: Attempt) {
  const request = {
    key: {
      tenantId: 'acme',
      workspaceId: more.workspaceId ?? 'web',
      signing: more.signing ?? 'required',
      signingSecret: SECRET,
    },
    headers: new Headers(headers),
    body: Buffer.from(body),
    isOnce: more.isOnce ?? true,
  }
  return verifySignature(request, more.replays ?? new MemoryReplays(), more.nowMs ?? NOW_SECONDS * 1000)
}

/** `good`, `not looked at`, or the code of the refusal and what it says. */
async function outcome(of: Attempt): Promise<string> {
  const result = await attempt(of)
  if (result === undefined) return 'not looked at'
  return isRejection(result) ? `${result.rejection}: ${result.message}` : 'good'
}

function signed(timestamp: string | number = NOW_SECONDS, body: string | Uint8Array = BODY): Record<string, string> {
  return { 'x-timestamp': String(timestamp), 'x-signature': sign(timestamp, body) }
}

describe('a signature', () => {
  test('is the HMAC that the documentation describes', async () => {
    // printf '1700000000.{"events":[]}' | openssl dgst -sha256 -hmac 'the secret'
    const signature = 'ef4820a41f7ca1184495bd03ccb416e06acb06af9e4bbfb1e28eba28bd5ecf61'
    expect(sign(NOW_SECONDS)).toBe(signature)
    expect(await outcome({ headers: signed() })).toBe('good')
  })

  test('may be written in capitals', async () => {
    const headers = { 'x-timestamp': `${NOW_SECONDS}`, 'x-signature': sign(NOW_SECONDS).toUpperCase() }
    expect(await outcome({ headers })).toBe('good')
  })

  test('is over bytes, whatever they are', async () => {
    const body = new Uint8Array([0, 255, 31, 139, 128, 10])
    expect(await outcome({ headers: signed(NOW_SECONDS, body), body })).toBe('good')
    expect(await outcome({ headers: signed(NOW_SECONDS, ''), body: '' })).toBe('good')
  })

  test('does not fit another body, timestamp or secret', async () => {
    for (const headers of [
      signed(NOW_SECONDS, `${BODY} `),
      { ...signed(), 'x-timestamp': `${NOW_SECONDS + 1}` },
      { ...signed(), 'x-signature': sign(NOW_SECONDS, BODY, 'another secret') },
    ])
      expect(await outcome({ headers })).toStartWith('unauthorized: X-Signature does not fit')
  })

  test('holds for five minutes before and after', async () => {
    for (const seconds of [-300, -299, 0, 299, 300])
      expect(await outcome({ headers: signed(NOW_SECONDS + seconds) })).toBe('good')
    expect(await outcome({ headers: signed(NOW_SECONDS - 301) })).toBe(
      'unauthorized: X-Timestamp is 301 s behind the time here, at most 300 s are allowed',
    )
    expect(await outcome({ headers: signed(NOW_SECONDS + 302), nowMs: NOW_SECONDS * 1000 + 500 })).toBe(
      'unauthorized: X-Timestamp is 302 s ahead of the time here, at most 300 s are allowed',
    )
  })

  test('of the wrong form is refused with what was expected, and the right one is never told', async () => {
    const right = sign(NOW_SECONDS)
    const wrong = [
      '',
      'zz',
      right.slice(1),
      `${right}0`,
      `g${right.slice(1)}`,
      `sha256=${right}`,
      `${right}, ${right}`,
      'ä',
    ]
    for (const signature of wrong) {
      const message = await outcome({ headers: { 'x-timestamp': `${NOW_SECONDS}`, 'x-signature': signature } })
      expect(message).toStartWith('unauthorized: X-Signature wants 64 hexadecimal digits: HMAC-SHA256')
      expect(message).not.toContain(right)
    }
  })

  test('wants a timestamp of whole seconds', async () => {
    const wrong = [
      '',
      'now',
      '1700000000.5',
      '1.7e9',
      '-1700000000',
      '+1700000000',
      '01700000000',
      '0x65',
      '9'.repeat(400),
    ]
    for (const timestamp of wrong) {
      const headers = { 'x-timestamp': timestamp, 'x-signature': sign(timestamp) }
      const message = await outcome({ headers })
      expect(message).toMatch(/^unauthorized: X-Timestamp is ".*", but wants the time in whole seconds since 1970$/)
      expect(message.length).toBeLessThan(150)
    }
    for (const timestamp of [`${NOW_SECONDS * 1000}`, '1', '999999999999'])
      expect(await outcome({ headers: { 'x-timestamp': timestamp, 'x-signature': sign(timestamp) } })).toMatch(
        /^unauthorized: X-Timestamp is (\d+ s|"1700000000000",)/,
      )
  })
})

describe('a key', () => {
  const timestampOnly = { 'x-timestamp': `${NOW_SECONDS}` }
  const signatureOnly = { 'x-signature': sign(NOW_SECONDS) }

  test('that does not sign: the headers are not looked at', async () => {
    for (const headers of [{}, signatureOnly, timestampOnly, { ...signed(), 'x-signature': 'nonsense' }])
      expect(await outcome({ signing: 'off', headers })).toBe('not looked at')
  })

  test('that may sign: a signature that is there must be good', async () => {
    for (const headers of [{}, timestampOnly])
      expect(await outcome({ signing: 'optional', headers })).toBe('not looked at')
    expect(await outcome({ signing: 'optional', headers: signed() })).toBe('good')
    expect(await outcome({ signing: 'optional', headers: signatureOnly })).toStartWith(
      'unauthorized: X-Timestamp is missing',
    )
    expect(await outcome({ signing: 'optional', headers: { ...signed(), 'x-signature': '' } })).toStartWith(
      'unauthorized',
    )
  })

  test('that must sign: there must be a signature', async () => {
    for (const headers of [{}, timestampOnly])
      expect(await outcome({ headers })).toBe(
        'unauthorized: the key wants signed requests: send X-Timestamp and X-Signature',
      )
    expect(await outcome({ headers: signatureOnly })).toStartWith('unauthorized: X-Timestamp is missing')
    expect(await outcome({ headers: signed() })).toBe('good')
  })
})

describe('the second time', () => {
  test('a signature is refused, whatever its spelling', async () => {
    const replays = new MemoryReplays()
    const headers = signed()
    expect(await outcome({ headers, replays })).toBe('good')
    const capitals = { ...headers, 'x-signature': sign(NOW_SECONDS).toUpperCase() }
    for (const again of [headers, capitals])
      expect(await outcome({ headers: again, replays })).toStartWith('unauthorized: X-Signature was used before')
    expect(await outcome({ headers: signed(NOW_SECONDS + 1), replays })).toBe('good')
  })

  test('it is good when the first request did not get through', async () => {
    const replays = new MemoryReplays()
    const first = await attempt({ headers: signed(), replays })
    if (first === undefined || isRejection(first)) throw new Error('it is good')
    first.forget()
    expect(await outcome({ headers: signed(), replays })).toBe('good')
    expect(await outcome({ headers: signed(), replays })).toStartWith('unauthorized')
  })

  test('it is good for a request that changes nothing', async () => {
    const replays = new MemoryReplays()
    for (let count = 0; count < 3; count++)
      expect(await outcome({ headers: signed(NOW_SECONDS, ''), body: '', isOnce: false, replays })).toBe('good')
    expect(replays.stats().signatures).toBe(0)
  })

  test('a wrong signature uses up nothing', async () => {
    const replays = new MemoryReplays()
    await outcome({ headers: signed(), body: 'changed', replays })
    expect(replays.stats().signatures).toBe(0)
    expect(await outcome({ headers: signed(), replays })).toBe('good')
  })
})
