/** One socket of `WS /v1/stream` in a fuzzing run: good and bad messages one after another, or something cruel. */
import type { Draw } from './draw.ts'
import { acknowledged } from './expected-events.ts'
import { spoil, toText, validValue, wildValue } from './json-values.ts'
import { type FuzzKey, UNCERTAIN } from './keys.ts'
import type { Ledger } from './ledger.ts'
import { HINTS, type Operation } from './operations.ts'
import { cruelFrames, messageBytes, RawStream } from './sockets.ts'

export interface StreamWorld {
  readonly port: number
  readonly keys: readonly FuzzKey[]
  /** Of the workspace in which it does not matter what is stored. */
  readonly uncertain: FuzzKey
  readonly operations: readonly Operation[]
  readonly ledger: Ledger
  /** 201 for a message that was acknowledged, 400 for one that was not, else the status of the handshake. */
  count(status: number): void
}

const ANSWERED_WITHIN_MS = 20_000
const CLOSED_WITHIN_MS = 200
const MESSAGES_MAX = 12

/** Gives what should not be. */
export function runStream(world: StreamWorld, draw: Draw): Promise<string | undefined> {
  return draw.chance(0.3) ? provoke(world, draw) : converse(world, draw)
}

async function converse(
  { port, keys, operations, ledger, count }: StreamWorld,
  draw: Draw,
): Promise<string | undefined> {
  const usable = keys.filter(
    ({ isTight, eventsPerMinute, signing, workspace }) =>
      !isTight && eventsPerMinute === undefined && signing !== 'required' && workspace !== UNCERTAIN,
  )
  const key = draw.pick(usable)
  const [headers, target] = draw.pick([
    [`API-Key: ${key.text}\r\n`, undefined],
    [`Authorization: Bearer ${key.text}\r\n`, undefined],
    [`Sec-WebSocket-Protocol: penstock, ${key.text}\r\n`, undefined],
    ['', `/v1/stream?api_key=${key.text}`],
  ] as const)
  const stream = await RawStream.open(port, headers, target)
  if (typeof stream === 'number') {
    count(stream)
    return key.mayIngest || (stream !== 401 && stream !== 403) ? `handshake with ${key.name}: ${stream}` : undefined
  }
  try {
    if (!key.mayIngest) return `opened with ${key.name}`
    const schema =
      operations.find(({ path, method }) => path === '/v1/events' && method === 'POST')?.bodies['application/json'] ??
      {}
    for (let rest = draw.integer(1, MESSAGES_MAX); rest > 0; rest--) {
      const text = messageText(validValue(schema, HINTS.stream, draw), rest, draw)
      stream.send(messageBytes(text, draw))
      const said = await stream.next(ANSWERED_WITHIN_MS)
      if (said === undefined) return `no answer to ${text.slice(0, 300)}`
      const answer = JSON.parse(said) as { type: string; error?: { code: string }; retry_after_ms?: number }
      count(answer.type === 'ack' ? 201 : 400)
      if (answer.type === 'ack') {
        const events = acknowledged({ protocol: 'stream', isNdjson: false, text }, 201, answer)
        if (events?.problem !== undefined) return `${events.problem}: ${said.slice(0, 300)} to ${text.slice(0, 300)}`
        ledger.add(key.workspace, events?.names ?? [])
      } else if (answer.type !== 'error' || answer.error?.code === 'internal') {
        return `${said.slice(0, 300)} to ${text.slice(0, 300)}`
      }
    }
    return undefined
  } finally {
    stream.close()
  }
}

function messageText(body: unknown, seq: number, draw: Draw): string {
  const { events } = body as { events: unknown }
  const message = draw.chance(0.5)
    ? events
    : { events, ...(draw.chance(0.7) ? { seq: draw.pick([seq, 'x', 1.5, null, '__proto__']) } : {}) }
  return draw.weighted<() => string>([
    [6, () => toText(message)],
    [4, () => toText(spoil(message, draw))],
    [1, () => toText(wildValue(draw))],
  ])()
}

async function provoke({ port, uncertain, operations, count }: StreamWorld, draw: Draw): Promise<string | undefined> {
  const stream = await RawStream.open(port, `API-Key: ${uncertain.text}\r\n`)
  if (typeof stream === 'number') return `handshake: ${stream}`
  const schema =
    operations.find(({ path, method }) => path === '/v1/events' && method === 'POST')?.bodies['application/json'] ?? {}
  const [, bytes] = cruelFrames(JSON.stringify(validValue(schema, HINTS.stream, draw)), draw)
  stream.send(bytes)
  if (draw.chance(0.2)) stream.halfClose()
  if (!draw.chance(0.2)) await stream.next(CLOSED_WITHIN_MS)
  stream.close()
  count(0)
  return undefined
}
