import { afterAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openStreams } from '../../bench/load/streams.ts'
import { Resources } from '../../bench/system/resources.ts'
import { writeMessages } from '../../bench/workload/stream-messages.ts'

const directory = mkdtempSync(join(tmpdir(), 'penstock-messages-'))
afterAll(() => rmSync(directory, { recursive: true }))

const EVENTS = 3
const file = writeMessages(directory, 10, EVENTS)

interface Heard {
  readonly seq: number
  readonly waiting: number
}

/** A server that takes messages as Penstock does, and answers them late and in another order. */
function serve(answer: (seq: number) => object) {
  const heard: Heard[] = []
  const answered = { count: 0 }
  const server = Bun.serve<{ waiting: number }>({
    hostname: '127.0.0.1',
    port: 0,
    fetch: (request, bun) => (bun.upgrade(request, { data: { waiting: 0 } }) ? undefined : new Response('no')),
    websocket: {
      message(socket, text) {
        const { seq, events } = JSON.parse(String(text))
        expect(events).toHaveLength(EVENTS)
        heard.push({ seq, waiting: ++socket.data.waiting })
        setTimeout(
          () => {
            socket.data.waiting--
            socket.send(JSON.stringify(answer(seq)))
            answered.count++
          },
          (seq % 3) * 5,
        )
      },
    },
  })
  return { heard, answered, server }
}

async function load(server: { readonly port?: number | undefined }, messagesPerSecond?: number) {
  const resources = new Resources()
  const pace = messagesPerSecond === undefined ? {} : { messagesPerSecond }
  const url = `ws://127.0.0.1:${server.port}/v1/stream`
  const plan = { resources, url, key: 'key', messages: file, connections: 3, seconds: 1, window: 4, ...pace }
  try {
    return await (await openStreams(plan)).send()
  } finally {
    await resources.close()
  }
}

test('the generator keeps every window full and not fuller, and waits for the last answer', async () => {
  const { heard, server } = serve((seq) => ({ type: 'ack', seq, accepted: EVENTS, rejected: 0 }))
  const result = await load(server)
  expect(result).toMatchObject({ requests: heard.length, events: EVENTS * heard.length, refused: 0, broken: 0 })
  expect(Math.max(...heard.map(({ waiting }) => waiting))).toBe(4)
  expect(new Set(heard.map(({ seq }) => seq))).toEqual(new Set([0, 1, 2, 3]))
  await server.stop(true)
})

test('paced, it sends what is due and no more', async () => {
  const { heard, server } = serve((seq) => ({ type: 'ack', seq, accepted: EVENTS, rejected: 0 }))
  const { requests } = await load(server, 100)
  expect(requests).toBe(heard.length)
  expect(requests).toBeLessThanOrEqual(100)
  expect(requests).toBeGreaterThan(50)
  await server.stop(true)
})

test('what is not acknowledged counts: slow_downs, messages that stay without an answer, and connections that break', async () => {
  const { answered, server } = serve(() => ({ type: 'slow_down', retry_after_ms: 1 }))
  const loaded = load(server)
  while (answered.count < 3 * 4) await Bun.sleep(10)
  await server.stop(true)
  expect(await loaded).toMatchObject({ requests: 0, slowDowns: 3 * 4, broken: 3 + 3 * 4 })
})
