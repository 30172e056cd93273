/**
 * What a `User-Agent` says about who sent an event: browser, operating system and kind of device.
 *
 * `ua-parser-js` 1 (MIT; version 2 is AGPL) reads browsers, `isbot` (public domain) knows who is none. One agent costs them 15 µs (0.6 ms at
 * worst), so results are kept; see `AgentCache` for what a flood of distinct agents does to that.
 */
import { isbot } from 'isbot'
import UAParser from 'ua-parser-js'

/**
 * `desktop`, `mobile` (phones), `tablet`, `tv`, `console` (games), `wearable` (watches, headsets), `embedded` (cars and the like); `bot`: crawlers,
 * monitors, browsers without a window, agents that no browser sends; `library`: an HTTP library or SDK that does not say what it runs on, such as
 * `analytics-node/3.1.0`; empty: unknown.
 */
export type Device =
  | 'desktop'
  | 'mobile'
  | 'tablet'
  | 'tv'
  | 'console'
  | 'wearable'
  | 'embedded'
  | 'bot'
  | 'library'
  | ''

/** What an agent says of itself; empty texts where it says nothing. */
export interface Agent {
  /** Product without version, one name for its desktop and mobile editions: `Chrome`, `Safari`, `Firefox`, `Edge`, `Samsung Internet` … */
  readonly browser: string
  /** System without version: `Windows`, `macOS`, `Linux` (any distribution), `Chrome OS`, `Android`, `iOS` … */
  readonly os: string
  readonly device: Device
}

/** What is read of an agent; longer ones are garbage, or repeat what they said before. */
const AGENT_CHARS_MAX = 500

const NOBODY: Agent = Object.freeze({ browser: '', os: '', device: '' })
const BOT: Agent = Object.freeze({ browser: '', os: '', device: 'bot' })
const LIBRARY: Agent = Object.freeze({ browser: '', os: '', device: 'library' })

/** Reads a `User-Agent`. Remembers nothing. */
export function parseUserAgent(text: string): Agent {
  const agent = text.slice(0, AGENT_CHARS_MAX)
  if (agent === '') return NOBODY
  if (isbot(agent)) return isLibrary(agent) ? LIBRARY : BOT
  // What describes its system does so in a comment, but for Apple's network library.
  if (!agent.includes('(') && !agent.includes('CFNetwork')) return isLibrary(agent) ? LIBRARY : NOBODY
  const parser = new UAParser(agent)
  const browser = browserName(parser.getBrowser().name ?? '')
  const os = systemName(parser.getOS().name ?? '')
  const device = deviceKind(parser.getDevice().type, os)
  if (browser === '' && os === '' && device === '') return isLibrary(agent) ? LIBRARY : NOBODY
  return Object.freeze({ browser, os, device })
}

/** True for `product`, `product/version …` and `product (…`, when it neither claims to be a browser nor names itself a bot. */
function isLibrary(agent: string): boolean {
  return (
    /^@?[a-z][\w.-]*(?:$|\/\S| \()/i.test(agent) && !/^(?:mozilla|opera)\b|bot|crawl|spider|https?:|www\./i.test(agent)
  )
}

const BROWSER_NAMES: ReadonlyMap<string, string> = new Map([
  ['mobile safari', 'Safari'],
  ['firefox focus', 'Firefox'],
  ['firefox reality', 'Firefox'],
  ['iemobile', 'IE'],
  ['opera mobi', 'Opera'],
  ['opera tablet', 'Opera'],
  ['opera touch', 'Opera'],
  ['opera coast', 'Opera'],
  ['opera gx', 'Opera'],
])

function browserName(name: string): string {
  return BROWSER_NAMES.get(name.toLowerCase()) ?? name
}

/** The library takes some names as they are written in the agent. */
const SYSTEM_NAMES: ReadonlyMap<string, string> = new Map([
  ['mac os', 'macOS'],
  ['chromium os', 'Chrome OS'],
  ['android', 'Android'],
  ['android-x86', 'Android'],
  ['harmonyos', 'HarmonyOS'],
  ['openharmony', 'HarmonyOS'],
  ['tizen', 'Tizen'],
  ['webos', 'webOS'],
  ['playstation', 'PlayStation'],
  ['nintendo', 'Nintendo'],
  ['xbox', 'Xbox'],
  ['kaios', 'KaiOS'],
])

const LINUX =
  /^(?:linux|gnu|[kxln]?ubuntu|debian|(?:open)?suse|gentoo|arch|slackware|fedora|mandriva|centos|pclinuxos|red ?hat|raspbian|deepin|manjaro|elementary os|mint|mageia|vectorlinux|zenwalk|linpus|sabayon|linspire)$/i

function systemName(name: string): string {
  if (LINUX.test(name)) return 'Linux'
  if (/^windows (?:phone|mobile)/i.test(name)) return 'Windows Phone'
  return SYSTEM_NAMES.get(name.toLowerCase()) ?? name
}

const DESKTOP_SYSTEMS = /^(?:Windows|macOS|Linux|Chrome OS|Solaris|Haiku|\w*BSD)$/

function deviceKind(type: string | undefined, os: string): Device {
  switch (type) {
    case 'mobile':
    case 'tablet':
    case 'console':
    case 'wearable':
    case 'embedded':
      return type
    case 'smarttv':
      return 'tv'
  }
  if (DESKTOP_SYSTEMS.test(os)) return 'desktop'
  return os === 'iOS' || os === 'Android' || os === 'KaiOS' || os === 'Windows Phone' ? 'mobile' : ''
}

/** Agents of one generation: 5 MB at most with the other, if all of them are 500 characters. */
const GENERATION_AGENTS_MAX = 4_000

/**
 * What agents said, in two generations: new ones come into the young, and when that is full it becomes the old and the old is forgotten.
 * One that is asked for in the old is young again. So an agent that comes at least once among 4,000 other new ones is always known,
 * whatever else comes, and a flood costs what its own agents cost to read.
 */
export class AgentCache {
  private young = new Map<string, Agent>()
  private old = new Map<string, Agent>()
  private lastText = ''
  private lastAgent = NOBODY

  /** Agents remembered. */
  get size(): number {
    return this.young.size + this.old.size
  }

  read(text: string): Agent {
    if (text === this.lastText) return this.lastAgent
    const key = text.length > AGENT_CHARS_MAX ? text.slice(0, AGENT_CHARS_MAX) : text
    const agent = this.young.get(key) ?? this.remember(key)
    this.lastText = key
    this.lastAgent = agent
    return agent
  }

  private remember(key: string): Agent {
    const agent = this.old.get(key) ?? parseUserAgent(key)
    if (this.young.size >= GENERATION_AGENTS_MAX) {
      this.old = this.young
      this.young = new Map()
    }
    // A copy: a piece of a longer text would hold all of that.
    this.young.set(Buffer.from(key).toString(), agent)
    return agent
  }
}
