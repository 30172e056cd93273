import { afterEach, expect, test } from 'bun:test'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AnswerParser } from '../../src/sink/http-answer.ts'
import { exchange, type HttpRequest } from '../../src/sink/http-exchange.ts'
import { failureOf } from '../../src/sink/insert.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** A server that answers with these bytes as soon as it has heard something, and then does as told. */
function answering(answer: string, then: 'keep' | 'close' = 'close'): URL {
  const listener = Bun.listen({
    hostname: '127.0.0.1',
    port: 0,
    socket: {
      data(socket) {
        if (answer !== '') socket.write(answer)
        if (then === 'close') socket.end()
      },
    },
  })
  cleanups.push(() => listener.stop(true))
  return new URL(`http://127.0.0.1:${listener.port}/?a=b`)
}

function request(url: URL, changes: Partial<HttpRequest> = {}): HttpRequest {
  const body = [new TextEncoder().encode('hello')]
  return { url, headers: {}, body, bodyBytes: 5, sendTimeoutMs: 5_000, answerTimeoutMs: 5_000, ...changes }
}

function parsed(answer: string, size: number, ends: boolean) {
  const parser = new AnswerParser()
  const bytes = Buffer.from(answer)
  for (let at = 0; at < bytes.length; at += size) parser.push(bytes.subarray(at, at + size))
  if (ends) parser.end()
  return parser.result
}

test('answers are read the same however they are cut', () => {
  const chunked = 'HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n'
  const known = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\nabcdeXXXX'
  const toEnd = 'HTTP/1.0 500 Oh\r\n\r\nabcde'
  for (const size of [1, 2, 3, 7, 1_000]) {
    for (const [text, ends] of [
      [chunked, false],
      [known, false],
      [toEnd, true],
    ] as const) {
      expect(parsed(text, size, ends)).toMatchObject({ status: 500, body: 'abcde' })
    }
  }
  expect(parsed(toEnd, 3, false)).toBeUndefined()
  expect(parsed(known.slice(0, -6), 3, true)).toBeUndefined()
  expect(parsed('SSH-2.0-OpenSSH\r\n\r\n', 3, false)).toMatchObject({ problem: 'malformed_answer' })
  expect(parsed('HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', 99, false)).toMatchObject({
    problem: 'malformed_answer',
  })
})

test('an answer that comes before the body was taken is heard', async () => {
  const url = answering('HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno', 'keep')
  const large = Array.from({ length: 64 }, () => new Uint8Array(1024 * 1024))
  const answer = await exchange(request(url, { body: large, bodyBytes: 64 * 1024 * 1024 }))
  expect(answer).toMatchObject({ status: 404, body: 'no' })
})

test('success before the body was sent is no success', async () => {
  const url = answering('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 'keep')
  const slow = (async function* () {
    yield new Uint8Array(1)
    await Bun.sleep(300)
    yield new Uint8Array(4)
  })()
  expect(await exchange(request(url, { body: slow }))).toMatchObject({ problem: 'malformed_answer' })
})

test('a server that hangs up, is not there, or says nothing is a problem with a code', async () => {
  expect(await exchange(request(answering('')))).toMatchObject({ problem: 'closed' })
  expect(await exchange(request(answering('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc')))).toMatchObject({
    problem: 'closed',
  })
  expect(await exchange(request(answering('', 'keep'), { answerTimeoutMs: 50 }))).toMatchObject({ problem: 'timeout' })
  expect(await exchange(request(new URL('http://127.0.0.1:1/')))).toMatchObject({ problem: 'ECONNREFUSED' })
})

test('a body of another length than it said is not sent as if it were whole', async () => {
  const url = answering('', 'keep')
  expect(await exchange(request(url, { bodyBytes: 4 }))).toMatchObject({ problem: 'body_failed' })
  expect(await exchange(request(url, { bodyBytes: 6 }))).toMatchObject({ problem: 'body_failed' })
})

test('when it is given up, the body is closed and not read any more before it resolves', async () => {
  const url = answering('', 'keep')
  let isClosed = false
  const endless = (async function* () {
    try {
      for (;;) yield new Uint8Array(1024 * 1024)
    } finally {
      isClosed = true
    }
  })()
  const giveUp = new AbortController()
  setTimeout(() => giveUp.abort(), 50)
  const signal = giveUp.signal
  expect(await exchange(request(url, { body: endless, bodyBytes: 2 ** 40, signal }))).toMatchObject({
    problem: 'aborted',
  })
  expect(isClosed).toBe(true)
  expect(await exchange(request(url, { signal }))).toMatchObject({ problem: 'aborted' })
})

test('a certificate that nobody vouches for is refused before anything is sent', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'penstock-tls-'))
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }))
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days', '1', ...subject],
    { stdio: 'ignore' },
  )
  let heard = 0
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    tls: { key: readFileSync(key), cert: readFileSync(cert) },
    fetch: async (sent) => {
      heard += (await sent.arrayBuffer()).byteLength
      return new Response('')
    },
  })
  cleanups.push(() => server.stop(true))
  const url = new URL(`https://localhost:${server.port}/`)
  const answer = await exchange(request(url))
  expect(answer).toHaveProperty('problem')
  expect(heard).toBe(0)

  // The same certificate, vouched for: in a process of its own, because what is trusted is read at its start.
  const script = `
    const { exchange } = await import(${JSON.stringify(join(import.meta.dir, '../../src/sink/http-exchange.ts'))})
    for (const host of ['127.0.0.1', 'localhost']) {
      const body = Array.from({ length: 40 }, () => new Uint8Array(100_000).fill(7))
      const url = new URL('https://' + host + ':${server.port}/')
      const answer = await exchange({ url, headers: {}, body, bodyBytes: 4_000_000, sendTimeoutMs: 5000, answerTimeoutMs: 5000 })
      console.log(host, answer.status ?? 'refused')
    }`
  const child = Bun.spawn([process.execPath, '-e', script], {
    env: { NODE_EXTRA_CA_CERTS: cert },
    stdout: 'pipe',
    stderr: 'inherit',
  })
  expect(await new Response(child.stdout).text()).toBe('127.0.0.1 refused\nlocalhost 200\n')
  expect(heard).toBe(4_000_000)
})

test('an error that follows a 200 is an error', () => {
  const answer = (status: number, headers: [string, string][], body: string) => ({
    status,
    headers: new Map(headers),
    body,
  })
  expect(failureOf(answer(200, [], ''))).toBeUndefined()
  expect(failureOf(answer(200, [], 'Code: 241. DB::Exception: memory'))).toMatchObject({
    exceptionCode: 241,
    code: '241',
  })
  expect(failureOf(answer(200, [['x-clickhouse-exception-code', '252']], ''))).toMatchObject({ exceptionCode: 252 })
  expect(failureOf(answer(302, [], ''))).toMatchObject({ exceptionCode: undefined, code: 'http_302' })
  expect(failureOf(answer(502, [], 'Bad Gateway'))).toMatchObject({ exceptionCode: undefined, code: 'http_502' })
})
