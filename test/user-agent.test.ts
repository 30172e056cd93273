import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { AgentCache, parseUserAgent } from '../src/user-agent.ts'

/** Browser, system, device, and who says so of itself. */
const AGENTS: readonly [string, string, string, string][] = [
  [
    'Chrome',
    'Windows',
    'desktop',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36',
  ],
  [
    'Chrome',
    'macOS',
    'desktop',
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
  ],
  [
    'Chrome',
    'Linux',
    'desktop',
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36',
  ],
  [
    'Chrome',
    'Chrome OS',
    'desktop',
    'Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36',
  ],
  [
    'Chrome',
    'Android',
    'mobile',
    'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36',
  ],
  [
    'Chrome',
    'Android',
    'tablet',
    'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36',
  ],
  [
    'Chrome',
    'Android',
    'tablet',
    'Mozilla/5.0 (Linux; Android 13; SM-X906C) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Safari/537.36',
  ],
  [
    'Chrome',
    'iOS',
    'mobile',
    'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0.6478.54 Mobile/15E148 Safari/604.1',
  ],
  [
    'Safari',
    'iOS',
    'mobile',
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1',
  ],
  [
    'Safari',
    'iOS',
    'mobile',
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1',
  ],
  [
    'Safari',
    'iOS',
    'tablet',
    'Mozilla/5.0 (iPad; CPU OS 12_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1.2 Mobile/15E148 Safari/604.1',
  ],
  [
    'Safari',
    'iOS',
    'tablet',
    'Mozilla/5.0 (iPad; U; CPU OS 3_2 like Mac OS X; en-us) AppleWebKit/531.21.10 (KHTML, like Gecko) Version/4.0.4 Mobile/7B334b Safari/531.21.10',
  ],
  [
    'Safari',
    'macOS',
    'desktop',
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15',
  ],
  ['Firefox', 'Windows', 'desktop', 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0'],
  [
    'Firefox',
    'macOS',
    'desktop',
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 14.7; rv:133.0) Gecko/20100101 Firefox/133.0',
  ],
  ['Firefox', 'Linux', 'desktop', 'Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0'],
  ['Firefox', 'Linux', 'desktop', 'Mozilla/5.0 (X11; Fedora; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0'],
  ['Firefox', 'Android', 'mobile', 'Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0'],
  ['Firefox', 'Android', 'tablet', 'Mozilla/5.0 (Android 14; Tablet; rv:133.0) Gecko/133.0 Firefox/133.0'],
  [
    'Firefox',
    'iOS',
    'mobile',
    'Mozilla/5.0 (iPhone; CPU iPhone OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/133.0 Mobile/15E148 Safari/605.1.15',
  ],
  [
    'Edge',
    'Windows',
    'desktop',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.2903.70',
  ],
  [
    'Edge',
    'Android',
    'mobile',
    'Mozilla/5.0 (Linux; Android 10; HD1913) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.6778.81 Mobile Safari/537.36 EdgA/131.0.2903.48',
  ],
  [
    'Edge',
    'iOS',
    'mobile',
    'Mozilla/5.0 (iPhone; CPU iPhone OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 EdgiOS/131.2903.68 Mobile/15E148 Safari/605.1.15',
  ],
  [
    'Opera',
    'Windows',
    'desktop',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 OPR/115.0.0.0',
  ],
  [
    'Vivaldi',
    'Windows',
    'desktop',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Vivaldi/7.0.3495.11',
  ],
  [
    'Samsung Internet',
    'Android',
    'mobile',
    'Mozilla/5.0 (Linux; Android 14; SM-S928B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/26.0 Chrome/122.0.0.0 Mobile Safari/537.36',
  ],
  ['IE', 'Windows', 'desktop', 'Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko'],
  [
    'Chrome WebView',
    'Android',
    'mobile',
    'Mozilla/5.0 (Linux; Android 14; Pixel 8 Build/AP2A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/131.0.6778.39 Mobile Safari/537.36',
  ],
  [
    'WebKit',
    'iOS',
    'mobile',
    'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148',
  ],
  [
    'Instagram',
    'iOS',
    'mobile',
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/22B83 Instagram 358.0.0.0.0 (iPhone14,5; iOS 18_1; en_US; en; scale=3.00; 1170x2532; 660000000)',
  ],
  [
    'Facebook',
    'iOS',
    'mobile',
    'Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/480.0.0.30.109;FBBV/640000000;FBDV/iPhone14,7;FBMD/iPhone;FBSN/iOS;FBSV/17.6;FBSS/3;FBID/phone;FBLC/en_US;FBOP/5]',
  ],
  [
    '',
    '',
    'bot',
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Safari/537.36',
  ],
  ['', '', 'bot', 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)'],
  [
    '',
    '',
    'bot',
    'Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.6778.69 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
  ],
  [
    '',
    '',
    'bot',
    'Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36',
  ],
  [
    '',
    '',
    'bot',
    'Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)',
  ],
  ['', '', 'bot', 'Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)'],
  ['', '', 'bot', 'facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)'],
  ['', '', 'bot', 'Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)'],
  [
    '',
    '',
    'bot',
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)',
  ],
  ['', '', 'bot', 'Mozilla/5.0'],
  ['', '', 'bot', 'UptimeRobot/2.0; http://www.uptimerobot.com/'],
  ['', '', 'bot', 'Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)'],
  [
    '',
    '',
    'bot',
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Chrome-Lighthouse',
  ],
  [
    'Chrome',
    'Android',
    'tv',
    'Mozilla/5.0 (Linux; Android 12; SHIELD Android TV Build/SR1A) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36',
  ],
  [
    'Safari',
    'Tizen',
    'tv',
    'Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) 76.0.3809.146/6.0 TV Safari/537.36',
  ],
  [
    'Chrome',
    'webOS',
    'tv',
    'Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/87.0.4280.88 Safari/537.36 WebAppManager',
  ],
  [
    'Safari',
    'PlayStation',
    'console',
    'Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 Safari/605.1.15',
  ],
  [
    'Edge',
    'Xbox',
    'console',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/48.0.2564.82 Safari/537.36 Edge/20.02',
  ],
  [
    'Oculus Browser',
    'Android',
    'wearable',
    'Mozilla/5.0 (Linux; Android 12; Quest 3) AppleWebKit/537.36 (KHTML, like Gecko) OculusBrowser/30.0 Chrome/118.0 VR Safari/537.36',
  ],
  [
    'Silk',
    'Android',
    'tablet',
    'Mozilla/5.0 (Linux; Android 11; KFTRWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/116.4.5 like Chrome/116.0.5845.118 Safari/537.36',
  ],
  ['', '', 'library', 'analytics-node/3.1.0'],
  ['', '', 'library', 'analytics-node/2.1.3'],
  ['', '', 'library', '@segment/analytics-node/2.1.3'],
  ['', '', 'library', 'rudder-sdk-node/2.0.7'],
  ['', '', 'library', 'analytics-python/2.3.3'],
  ['', '', 'library', 'analytics-ruby/2.4.0'],
  ['', '', 'library', 'analytics-go (version: 3.0.0)'],
  ['', '', 'library', 'curl/8.5.0'],
  ['', '', 'library', 'python-requests/2.32.3'],
  ['', '', 'library', 'Python/3.12 aiohttp/3.11.7'],
  ['', '', 'library', 'Go-http-client/2.0'],
  ['', '', 'library', 'node'],
  ['', '', 'library', 'undici'],
  ['', '', 'library', 'axios/1.7.9'],
  ['', '', 'library', 'okhttp/4.12.0'],
  ['', '', 'library', 'Bun/1.4.4'],
  ['', '', 'library', 'PostmanRuntime/7.43.0'],
  ['', '', 'library', 'Dart/3.5 (dart:io)'],
  ['', '', 'library', 'analytics.js/2.0 (1.0)'],
  ['', '', 'bot', 'some words that mean nothing'],
  ['', '', 'bot', 'GET / HTTP'],
  ['', 'iOS', 'mobile', 'MyApp/3.2.1 (iPhone; iOS 18.1; Scale/3.00)'],
  ['', 'iOS', 'mobile', 'MyApp/123 CFNetwork/1568.200.51 Darwin/24.1.0'],
  ['', 'Android', 'mobile', 'Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/AP2A.240905.003)'],
  [
    'Electron',
    'Windows',
    'desktop',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Slack/4.41.97 Chrome/130.0.6723.58 Electron/33.0.1 Safari/537.36',
  ],
  [
    'Yandex',
    'Windows',
    'desktop',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 YaBrowser/24.12.0.0 Safari/537.36',
  ],
  [
    'MIUI Browser',
    'Android',
    'mobile',
    'Mozilla/5.0 (Linux; U; Android 14; en-us; 23049PCD8G) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/112 Mobile Safari/537.36 XiaoMi/MiuiBrowser/14.6',
  ],
  [
    'Huawei Browser',
    'HarmonyOS',
    'mobile',
    'Mozilla/5.0 (Linux; arm_64; Android 12; HarmonyOS) AppleWebKit/537.36 HuaweiBrowser/15 Mobile Safari/537.36',
  ],
  ['Firefox', 'FreeBSD', 'desktop', 'Mozilla/5.0 (X11; FreeBSD amd64; rv:120.0) Gecko/20100101 Firefox/120.0'],
  [
    'Samsung Internet',
    'Android',
    'wearable',
    'Mozilla/5.0 (Linux; Android 14; SM-R960) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/24.0 Chrome/117.0.0.0 Mobile Safari/537.36',
  ],
  [
    'Tesla',
    'Linux',
    'embedded',
    'Mozilla/5.0 (X11; Linux aarch64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Tesla/2024.44',
  ],
  ['', '', 'tv', 'Roku/DVP-13.0 (13.0.0.4010-CU)'],
  ['', 'iOS', 'tv', 'AppleCoreMedia/1.0.0.22K154 (Apple TV; U; CPU OS 18_1 like Mac OS X; en_us)'],
  [
    'Edge',
    'Windows Phone',
    'mobile',
    'Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1; Microsoft; Lumia 950) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/52.0.2743.116 Mobile Safari/537.36 Edge/15.15063',
  ],
  [
    'Android Browser',
    'Android',
    'tablet',
    'Mozilla/5.0 (Linux; U; Android 4.4.2; en-us; SM-T230NU Build/KOT49H) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Safari/537.36',
  ],
  [
    'Opera',
    'Android',
    'mobile',
    'Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36 OPR/86.0.0.0',
  ],
]

test.each(AGENTS)('browser %j, system %j, device %j: %s', (browser, os, device, agent) => {
  expect<object>(parseUserAgent(agent)).toEqual({ browser, os, device })
})

const CHROME =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36'

test('an agent of 10 KB is read by its beginning', () => {
  expect(parseUserAgent(CHROME + ' x'.repeat(5_000))).toEqual(parseUserAgent(CHROME))
})

test('anything may call itself anything', () => {
  const words = fc.constantFrom(
    'Mozilla/5.0 (',
    'Windows NT',
    'Android 1',
    'iphone',
    '; ',
    ')',
    'Chrome/',
    '\0',
    'ß',
    '\ud800',
  )
  const agents = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(words, { maxLength: 60 }).map((parts) => parts.join('')),
  )
  const kinds = ['desktop', 'mobile', 'tablet', 'tv', 'console', 'wearable', 'embedded', 'bot', 'library', '']
  fc.assert(
    fc.property(agents, (agent) => {
      const { browser, os, device } = parseUserAgent(agent)
      expect(kinds).toContain(device)
      expect(browser.length + os.length).toBeLessThan(100)
    }),
    { numRuns: 2_000 },
  )
})

describe('what is remembered', () => {
  test('is the same as what would be read again', () => {
    const cache = new AgentCache()
    for (let round = 0; round < 2; round++)
      for (const [browser, os, device, agent] of AGENTS)
        expect<object>(cache.read(agent)).toEqual({ browser, os, device })
  })

  test('stays small however many different agents come, and however long they are', () => {
    const cache = new AgentCache()
    for (let number = 0; number < 20_000; number++) cache.read(`client${number}/1.0 ${'x'.repeat(10_000)}`)
    expect(cache.size).toBeLessThanOrEqual(8_000)
    Bun.gc(true)
    const before = process.memoryUsage().rss
    for (let number = 0; number < 20_000; number++) cache.read(`other${number}/1.0 ${'x'.repeat(10_000)}`)
    Bun.gc(true)
    expect(process.memoryUsage().rss - before).toBeLessThan(50 * 1024 * 1024)
  })

  test('keeps an agent that comes now and then through a flood of others', () => {
    const cache = new AgentCache()
    const first = cache.read(CHROME)
    for (let number = 0; number < 50_000; number++) {
      cache.read(`client${number}/1.0`)
      if (number % 3_000 === 0) expect(cache.read(CHROME)).toBe(first)
    }
  })
})
