/** What the scanner takes, what it leaves, and that what it takes is what the reading of objects makes of it. */
import { beforeEach, describe, expect, test } from 'bun:test'
import { moduleStamp, sourcesStamp } from '../../src/scan/compiled.ts'
import { bodyOf, Comparison, makeDraft, makeFacts, RECEIVED_AT } from './scan-fixture.ts'

let both = new Comparison()
beforeEach(() => {
  both = new Comparison()
})

test('it was compiled from the sources as they are', () => {
  expect(moduleStamp()).toBe(sourcesStamp())
})

/** A body with this text where the properties stand. */
function withProperties(json: string): string {
  return bodyOf(makeDraft({ properties: '@' })).replace('"@"', json)
}

describe('of a body it takes', () => {
  const TAKEN: readonly (readonly [what: string, body: string])[] = [
    ['an event', bodyOf(makeDraft())],
    ['several', bodyOf(makeDraft(), makeDraft({ type: 'click' }), makeDraft({ type: 'pageview' }))],
    [
      'white space',
      JSON.stringify({ events: [makeDraft({ context: { a: [1, { b: 2 }] } })] }, undefined, '\t\n \r').replaceAll(
        '": ',
        '"\n:\r',
      ),
    ],
    [
      'an event with everything',
      bodyOf(
        makeDraft({
          user_id: 'u1',
          anonymous_id: 'a1',
          schema_version: '3',
          context: {
            ip: '203.0.113.7',
            user_agent: 'curl/8',
            locale: 'de-AT',
            page_url: 'https://shop.example/a/b?utm_source=x#top',
            page_title: 'Über uns',
            referrer: 'https://www.Google.com/search',
            screen: { width: 1920 },
          },
        }),
      ),
    ],
    ['an id that is no UUID', bodyOf(makeDraft({ event_id: 'order-17' }), makeDraft({ event_id: 'ü' }))],
    [
      'ids in upper case',
      bodyOf(
        makeDraft({
          event_id: 'ABCDEF00-0000-4000-8000-0000000000FF',
          session_id: 'ABCDEF00-0000-4000-8000-0000000000FF',
        }),
      ),
    ],
    [
      'keys of an event that mean nothing',
      bodyOf({ a: [1, { b: 'ü"' }, null, -1.5e-3, true], ...makeDraft(), z: {}, y: [] }),
    ],
    ['a context without anything', bodyOf(makeDraft({ context: {} }))],
    [
      'empty texts in the context',
      bodyOf(makeDraft({ context: { user_agent: '', locale: '', page_url: '', page_title: '', referrer: '' } })),
    ],
    ['IPv6', bodyOf(makeDraft({ context: { ip: '2001:db8::1' } }), makeDraft({ context: { ip: '::ffff:1.2.3.4' } }))],
  ]
  for (const [what, body] of TAKEN) test(what, () => expect(both.compare(body)).toBe(true))

  const PROPERTIES = [
    '{}',
    '{"a":1,"b":-1,"c":0,"d":9007199254740991,"e":-9007199254740991}',
    '{"a":-0,"b":-0.0,"c":0.0,"d":1.0,"e":1e3,"f":100E-2,"g":12.50,"h":-1e+2,"i":0e5}',
    '{"a":0.1,"b":0.17142694722861052,"c":1e-7,"d":123456.789e3,"e":5e-324,"f":1.7976931348623157e-8,"g":0.30000000000000004}',
    '{"a":2.2250738585072011e-308,"b":1e-400,"c":-1e-400,"d":9007199254740990.5,"e":0.000000000000000000000000000001}',
    '{"a":123456789012345.6789,"b":1.00000000000000000000000001,"c":3.14159265358979323846264338327950288}',
    '{"a":"","b":"x","c":"\\"\\\\\\/\\b\\f\\n\\r\\t","d":"\\u0000\\u001f\\u007f\\u0080\\u07ff\\u0800\\uffff"}',
    '{"a":"\\ud83d\\ude00","b":"\\ud83d","c":"\\ude00","d":"\\ud83d\\ud83d\\ude00","e":"\\ud83dx","f":"\\ud83d\\n","g":"\\uD83D\\uDE00"}',
    '{"a":"Grüße, 日本語 and 😀","b":"\u2028","c":"\ufffd","ключ":1}',
    `{"a":"${'x'.repeat(125)}","b":"${'x'.repeat(126)}","c":"${'x'.repeat(127)}","d":"${'ü'.repeat(80)}","e":"${'x'.repeat(10240)}"}`,
    '{"":1,"b":{"":{"":2}},"a.b":3,"a":{"b":4},"c.d.e":{"f.g":5}}',
    '{"__proto__":1,"constructor":{"prototype":2},"toString":3,"hasOwnProperty":4}',
    '{"1":1,"0":2,"10":3,"a":4}',
    '{"z":1,"y":{"x":{"w":2}},"a":true,"m":false,"n":null}',
    '{"a":[],"b":[null],"c":[null,null],"d":[1,2,3],"e":[1,null],"f":[1,2.5],"g":[true,false,null],"h":["a","","ü"],"i":[-0.0,1]}',
    '{"a":[{}],"b":[{"x":1,"y":{"z":"t"}},{"x":2.5,"q":[1,2]}],"c":[{"x":null},{"items":[{"deep":true},{"deep":1}]}]}',
    '{"a":[1,"x"],"b":[[1],[2,"y"]],"c":[{"a":1},null],"d":[{"a":1},2],"e":[[[]]],"f":[[],{}],"g":[1,true]}',
    '{"position":{"x":1,"y":2},"position2":{"x":1}}',
    `{"a":${'{"a":'.repeat(30)}1${'}'.repeat(30)}}`,
    `{"a":${'['.repeat(31)}1${']'.repeat(31)}}`,
    `{"${'k'.repeat(256)}":1,"${'ü'.repeat(128)}":2}`,
    `{${Array.from({ length: 2000 }, (_, index) => `"key${(index * 7919) % 2000}":${index}`).join()}}`,
  ]
  for (const json of PROPERTIES)
    test(`properties such as ${json.slice(0, 60)}`, () => {
      const body = withProperties(json)
      expect(both.compare(body)).toBe(true)
      // Now that its keys are known, and among other events.
      const event = body.slice('{"events":['.length, -']}'.length)
      expect(both.compare(`{"events":[${[JSON.stringify(makeDraft()), event, event].join()}]}`)).toBe(true)
    })

  test('times with any number of digits, and zones', () => {
    for (const time of [
      '2026-11-20T08:09:10Z',
      '2026-11-20T08:09:10.1Z',
      '2026-11-20T08:09:10.123456789Z',
      '2026-11-20T08:09:10.999999+02:00',
      '2026-11-20T00:30:00-05:30',
      '1900-01-01T00:00:00Z',
      '1969-12-31T23:59:59.999Z',
      '2000-02-29T00:00:00Z',
      '2024-02-29T12:00:00Z',
    ])
      expect([time, both.compare(bodyOf(makeDraft({ timestamp: time })))]).toEqual([time, true])
  })

  test('every day since 1900 as the day that it is', () => {
    for (let day = Date.UTC(1900, 0, 1); day < RECEIVED_AT; day += 86_400_000 * 7) {
      const timestamp = new Date(day + (day % 86_400_000) + 12_345_678).toISOString()
      expect(both.compare(bodyOf(makeDraft({ timestamp })))).toBe(true)
    }
  })

  test('pages and referrers, whatever they look like', () => {
    const ADDRESSES = [
      '/path?query',
      '/',
      '//host/path',
      'http://host',
      'https://host/',
      'https://host?x',
      'https://host#x',
      'http://www.a.b/c',
      'http://www.a',
      'http://www..com/',
      'https://user:password@host:8080/path',
      'https://host:8080',
      'https://HOST/Path',
      'https://1.2.3.4/',
      'https://[::1]/x',
      'https://münchen.example/ä',
      'https://host./',
      'https://',
      'http:///x',
      'app://x/y',
      'about:blank',
      'relative/path',
      'https://a_b-c.d/é?ü',
      'https:/host',
      ' https://host/x',
      'HTTPS://host/x',
      'https://host\\path',
      'http://www.co',
      'https://www.www.com/',
      `https://${'a.'.repeat(130)}com/`,
    ]
    for (const address of ADDRESSES)
      expect([address, both.compare(bodyOf(makeDraft({ context: { page_url: address, referrer: address } })))]).toEqual(
        [address, true],
      )
  })

  test('hosts and paths of every length, whatever ends them', () => {
    for (let length = 1; length <= 50; length++) {
      const name = 'sub.domain-'.repeat(5).slice(0, length)
      for (const end of ['', '/', '?', '#', '\\', ':', ':80', ':80/a', '@', ':x@y', '.', '..', 'A', 'é', '.7', '.7/'])
        for (const address of [`https://${name}${end}`, `/${name}${end}`, `http://h.i/${name}${end}${name}`])
          expect([
            address,
            both.compare(bodyOf(makeDraft({ context: { page_url: address, referrer: address } }))),
          ]).toEqual([address, true])
    }
  })

  test('a key with a dot once, when there are more than one column can tell by a byte', () => {
    const drafts = Array.from({ length: 700 }, (_, index) =>
      makeDraft({ type: `type ${index % 300}`, context: { locale: `l${index}` } }),
    )
    expect(both.compare(bodyOf(...drafts))).toBe(true)
    expect(both.compare(bodyOf(...drafts.slice(0, 256)))).toBe(true)
  })
})

/** Events of `keys` keys each that no other one has, in no order. */
function draftsOfNewKeys(events: number, keys: number): Record<string, unknown>[] {
  let made = 0
  const newKey = () => `k${((made++ * 7919) % 36 ** 4).toString(36).padStart(4, '0')}`
  return Array.from({ length: events }, () =>
    makeDraft({ properties: Object.fromEntries(Array.from({ length: keys }, () => [newKey(), 1])) }),
  )
}

describe('the order of paths', () => {
  test.each([
    [12, 1_200],
    [1_000, 14],
    [5_000, 1],
  ])('of %i events of %i new keys each takes no more work than sorting them', (events, keys) => {
    expect(both.compare(bodyOf(...draftsOfNewKeys(events, keys)))).toBe(true)
    const paths = events * keys
    expect(both.scanner.orderWork).toBeLessThan(2 * paths * Math.log2(paths))
  })

  test('is the same for new keys, for known ones, and for some of both', () => {
    const drafts = draftsOfNewKeys(60, 7)
    const mixed = drafts.map(({ properties }, index) =>
      makeDraft({ properties: { ...Object(properties), ...Object(drafts[index >> 1]?.properties) } }),
    )
    for (let time = 0; time < 3; time++)
      for (const [index, draft] of drafts.entries())
        expect(both.compare(bodyOf(draft, mixed[index], drafts[0]))).toBe(true)
  })

  test('is that of ranks alone once keys are known', () => {
    const [draft] = draftsOfNewKeys(1, 50)
    for (let time = 0; time < 5; time++) both.compare(bodyOf(draft, draft))
    const { orderWork } = both.scanner
    for (let time = 0; time < 100; time++) both.compare(bodyOf(draft, draft))
    expect(both.scanner.orderWork).toBe(orderWork)
  })
})

describe('it leaves', () => {
  const LEFT: readonly (readonly [what: string, body: string | Uint8Array])[] = [
    ['an empty body', ''],
    ['no events', '{"events":[]}'],
    ['something else', '[]'],
    ['more than events', `{"events":[${JSON.stringify(makeDraft())}],"more":1}`],
    ['what follows the body', `${bodyOf(makeDraft())} x`],
    ['a byte order mark', `\ufeff${bodyOf(makeDraft())}`],
    ['a body that ends too early', bodyOf(makeDraft()).slice(0, -1)],
    ['what is not UTF-8', Buffer.from(bodyOf(makeDraft({ properties: { a: 'ÿ' } })), 'latin1')],
    ['a comma too many', bodyOf(makeDraft()).replace('}]', '},]')],
    ['a comma too few', bodyOf(makeDraft(), makeDraft()).replace('},{', '}{')],
    ['an escape in a key', bodyOf(makeDraft()).replace('"type"', '"typ\\u0065"')],
    ['a field twice', bodyOf(makeDraft()).replace('{"type"', '{"type":"x","type"')],
    ...['type', 'timestamp', 'session_id', 'properties'].map(
      (name) => [`an event without ${name}`, bodyOf(makeDraft({ [name]: undefined }))] as const,
    ),
    ...[
      { type: '' },
      { type: 'x'.repeat(101) },
      { type: 1 },
      { type: null },
      { timestamp: '2026-11-20' },
      { timestamp: '2026-11-20 08:09:10Z' },
      { timestamp: '2026-02-30T00:00:00Z' },
      { timestamp: '2026-11-20T24:00:00Z' },
      { timestamp: '2026-11-20T08:09:10.Z' },
      { timestamp: '1899-12-31T23:59:59Z' },
      { timestamp: '2300-01-01T00:00:00Z' },
      { timestamp: new Date(RECEIVED_AT + 1001).toISOString() },
      { timestamp: '2026-11-20T08:09:10Zx' },
      { session_id: 'x' },
      { session_id: '0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5g' },
      { session_id: '0190a1b2+c3d4-7e5f-8a9b-0c1d2e3f4a5b' },
      { event_id: '' },
      { event_id: 7 },
      { event_id: 'x'.repeat(257) },
      { user_id: '' },
      { user_id: 'ü'.repeat(200) },
      { anonymous_id: null },
      { schema_version: '' },
      { schema_version: 'x'.repeat(65) },
      { properties: [] },
      { properties: 'x' },
      { context: [] },
      { context: null },
      { context: { ip: '1.2.3' } },
      { context: { ip: '1.2.3.256' } },
      { context: { ip: '01.2.3.4' } },
      { context: { ip: 7 } },
      { context: { locale: 'x'.repeat(65) } },
      { context: { page_url: null } },
      { context: { page_url: `/${'x'.repeat(10240)}` } },
      { context: { user_agent: {} } },
    ].map((changes) => [JSON.stringify(changes).slice(0, 60), bodyOf(makeDraft(changes))] as const),
    ...[
      '{"a":1,"a":2}',
      '{"a":{"b":1},"a":{"c":2}}',
      '{"a":1,"a":{"b":2}}',
      '{"a":[{"b":1,"b":2}]}',
      '{"a%2Eb":1}',
      '{"a":[{"1":1}]}',
      '{"a":9007199254740992}',
      '{"a":[9007199254740993]}',
      '{"a":1e16}',
      '{"a":1e999}',
      '{"a":01}',
      '{"a":.5}',
      '{"a":1.}',
      '{"a":1e}',
      '{"a":+1}',
      '{"a":-}',
      '{"a":nul}',
      '{"a":truE}',
      '{"a":tru}',
      '{"a":NaN}',
      "{'a':1}",
      '{a:1}',
      '{"a" 1}',
      '{"a":1,}',
      '{"a":[1,]}',
      '{"a":[,1]}',
      '{"a":[1 2]}',
      '{"a":"\n"}',
      '{"a":"\\x"}',
      '{"a":"\\u12g4"}',
      '{"a":"\\ud83d\\u12"}',
      '{"a":"x}',
      '{"a":{]}',
      `{"${'k'.repeat(257)}":1}`,
      `{"a":"${'x'.repeat(10241)}"}`,
      `{"a":["${'x'.repeat(10241)}"]}`,
      `{"a":${'{"a":'.repeat(32)}1${'}'.repeat(32)}}`,
      `{"a":${'['.repeat(40)}1${']'.repeat(40)}}`,
      `{${Array.from({ length: 2001 }, (_, index) => `"key${index}":1`).join()}}`,
      `{"a":[${Array.from({ length: 2000 }, () => 1).join()}]}`,
    ].map((json) => [`properties such as ${json.slice(0, 40)}`, withProperties(json)] as const),
  ]
  for (const [what, body] of LEFT) test(what, () => expect(both.compare(body)).toBe(false))

  test.each([
    ['text', { a: '@' }],
    ['key', { '@': 1 }],
    ['key in an array', { a: [{ '@': 1 }] }],
  ])('every sequence of bytes in a %s that is not UTF-8, and takes those that are', (_, properties) => {
    const before = bodyOf(makeDraft({ properties }))
    const place = before.indexOf('@')
    for (let first = 0x80; first < 0x100; first++) {
      for (const rest of [
        [],
        [0x80],
        [0x8f, 0x80],
        [0x90, 0x80],
        [0x9f, 0x80],
        [0xa0, 0xbf],
        [0xbf, 0xbf, 0xbf],
        [0x80, 0x80, 0x80],
        [0x90, 0x80, 0x80],
        [0x8f, 0xbf, 0xbf],
        [0xc0, 0x80],
        [0x80, 0x41],
      ]) {
        const body = Buffer.concat([
          Buffer.from(before.slice(0, place)),
          Buffer.from([first, ...rest]),
          Buffer.from(before.slice(place + 1)),
        ])
        both.compare(body)
      }
    }
    expect(both.taken).toBeGreaterThan(100)
    expect(both.left).toBeGreaterThan(500)
  })
})

describe('of a message it takes', () => {
  test('an array, and a body', () => {
    expect(both.compare(JSON.stringify([makeDraft(), makeDraft()]), 'message')).toBe(true)
    expect(both.compare(bodyOf(makeDraft()), 'message')).toBe(true)
  })

  const events = JSON.stringify([makeDraft()])
  for (const [seq, message] of [
    ['', `{"events":${events}}`],
    ['', events],
    ['7', `{"events":${events},"seq":7}`],
    ['0', `{ "seq" : 0 , "events" : ${events} }`],
    ['999999999999999', `{"seq":999999999999999,"events":${events}}`],
    ['"a/b 1"', `{"seq":"a/b 1","events":${events}}`],
    ['""', `{"events":${events},"seq":""}`],
  ] as const)
    test(`a message whose seq is ${seq || 'missing'}`, () => {
      expect(both.compare(message, 'message')).toBe(true)
      expect(both.scanner.sequence).toBe(seq)
    })

  for (const seq of [
    '01',
    '-1',
    '1.5',
    '1e3',
    '9999999999999999',
    'null',
    'true',
    '{}',
    '"ü"',
    '"\\n"',
    `"${'x'.repeat(300)}"`,
    '',
  ])
    test(`and leaves one whose seq is ${seq.slice(0, 20)}`, () => {
      expect(both.compare(`{"seq":${seq},"events":${events}}`, 'message')).toBe(false)
    })

  test('nothing with a key twice, or with others', () => {
    for (const message of [
      `{"seq":1,"seq":2,"events":${events}}`,
      `{"events":${events},"events":${events}}`,
      `{"events":${events},"more":1}`,
      '{"seq":1}',
      '{}',
    ])
      expect(both.compare(message, 'message')).toBe(false)
  })

  test('nothing that it would not take of a body', () => {
    expect(both.compare('[]', 'message')).toBe(false)
    expect(both.compare('[{}]', 'message')).toBe(false)
  })
})

describe('of lines it takes', () => {
  const line = JSON.stringify(makeDraft())
  const TAKEN = [line, `${line}\n`, `${line}\r\n${line}\r\n`, `\n\n${line}\n\r\n \t${line} \n`, `${line}\n`.repeat(100)]
  for (const [index, body] of TAKEN.entries())
    test(`lines ${index}`, () => expect(both.compare(body, 'lines')).toBe(true))

  test('and counts them, empty ones too', () => {
    const rows = both.scanner.read(makeFacts(), Buffer.from(`\n${line}\n\n${line}\n${line}`), 'lines')
    expect([rows?.length, both.scanner.lines]).toEqual([3, 5])
    rows?.release()
  })

  const LEFT = [
    '',
    '\n',
    ' \n',
    `${line}\n \n`,
    `${line}x\n`,
    `${line} ${line}\n`,
    `${line.replace(',', ',\n')}\n`,
    `${line}\n{}\n`,
    `[${line}]`,
  ]
  for (const body of LEFT)
    test(`and leaves ${JSON.stringify(body).slice(0, 40)}`, () => expect(both.compare(body, 'lines')).toBe(false))
})

describe('what a request says of its events', () => {
  test('holds for those that say nothing themselves', () => {
    const body = bodyOf(
      makeDraft(),
      makeDraft({ schema_version: '9', context: { user_agent: 'curl/8', ip: '10.1.2.3' } }),
    )
    for (const changes of [
      {},
      { userAgent: '' },
      { schemaVersion: '1', userAgent: 'Wget/1.2' },
      { anonymizeIp: true },
      { ip: new Uint8Array(16).fill(9) },
    ])
      for (let again = 0; again < 2; again++) expect(both.compare(body, 'body', makeFacts(changes))).toBe(true)
  })

  test('cuts addresses to their network where that is wanted', () => {
    const facts = makeFacts({ anonymizeIp: true })
    for (const ip of ['10.1.2.3', '2001:db8:1:2:3::4', '::ffff:9.8.7.6'])
      expect(both.compare(bodyOf(makeDraft({ context: { ip } })), 'body', facts)).toBe(true)
  })

  test('changes from request to request', () => {
    const keyOf = (tenantId: string, workspaceId: string) => ({ ...makeFacts().key, tenantId, workspaceId })
    for (let request = 0; request < 500; request++) {
      const facts = makeFacts({
        key: keyOf(`tenant ${request % 7}`, `workspace ${request % 3}`),
        protocol: request % 2 ? 'v1/stream' : 'v1/events',
      })
      expect(both.compare(bodyOf(makeDraft()), 'body', facts)).toBe(true)
    }
  })
})
